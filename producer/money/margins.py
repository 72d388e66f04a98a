"""The margin: what accounts were charged, less what Kie charged us."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.adapters.postgres.database import Queries, as_dicts
from shared.errors import Fault, InvalidRequest


class MarginGroup(StrEnum):
    """What the rows of a margin are grouped by."""

    DAY = "day"
    MODEL = "model"
    ACCOUNT = "account"


async def read_margin(
    queries: Queries, group: MarginGroup, since: datetime, until: datetime, limit: int
) -> list[dict[str, Any]]:
    """Return the margin of a period, one row per day, model or account.

    Days are newest first, the others have the lowest margin first. Raises `InvalidRequest` if the
    period ends before it begins.
    """
    if until <= since:
        raise InvalidRequest([Fault("to", f"{until.isoformat()} must be after `from`")])
    return as_dicts(await queries.fetch("read_margin", group.value, since, until, limit))
