"""Refunds what a job was charged."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from shared.adapters.postgres.database import Queries
from shared.errors import AlreadyRefunded, DatabaseRefused, JobNotFound, RefundTooLarge

_ONCE = "a_job_is_refunded_once"
_AT_MOST_THE_CHARGE = {"only_a_charge_is_refunded", "a_refund_is_at_most_the_charge"}


async def refund_job(
    queries: Queries,
    job_id: UUID,
    credits: Decimal | None,
    *,
    reason: str,
    actor: Actor | str | None,
) -> dict[str, Any]:
    """Give back what a job was charged, or a part of it, once. Return the entry of the ledger.

    None refunds the whole charge. Raises `JobNotFound`, `AlreadyRefunded`, and `RefundTooLarge` if
    the job was charged nothing, or less than `credits`.
    """
    try:
        with name_locked_row(f"the account of job {job_id}"):
            row = await queries.fetch_row(
                "refund_job", job_id, reason, credits, actor_to_json(actor)
            )
    except DatabaseRefused as error:
        if error.constraint == _ONCE:
            raise AlreadyRefunded(error.message) from error
        if error.constraint in _AT_MOST_THE_CHARGE:
            raise RefundTooLarge(error.message) from error
        raise
    if row is None:
        raise JobNotFound(str(job_id))
    return dict(row)
