"""The margin: what accounts were charged, less what Kie charged us."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.adapters.postgres.row_dicts import as_dicts
from shared.errors import Fault, InvalidRequest

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Queries


class MarginGroup(StrEnum):
    """What the rows of a margin are grouped by."""

    DAY = "day"
    MODEL = "model"
    VARIANT = "variant"
    ACCOUNT = "account"


async def read_margin(
    queries: Queries, group: MarginGroup, since: datetime, until: datetime, limit: int
) -> list[dict[str, Any]]:
    """Return the margin of a period, one row per day, model, variant or account.

    The name of a variant is that of its model, a space and the variant, such as `gpt-image-2 4K`.
    Days are newest first, the others have the lowest margin first. Raises `InvalidRequest` if the
    period ends before it begins.
    """
    if until <= since:
        raise InvalidRequest([Fault("to", f"{until.isoformat()} must be after `from`")])
    if group is MarginGroup.VARIANT:
        return as_dicts(await queries.fetch("read_margin_by_variant", since, until, limit))
    return as_dicts(await queries.fetch("read_margin", group.value, since, until, limit))
