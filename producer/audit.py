"""The audit entries: who did what to prices, credits, jobs, keys and webhooks."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from shared.adapters.postgres import Queries, as_dicts
from shared.errors import Fault, InvalidRequest


class Act(StrEnum):
    """What is noted. Stored in `audit_entries.act`; a CHECK there lists the same words."""

    ACCOUNT_CREATED = "account_created"
    CREDITS_GRANTED = "credits_granted"
    CREDITS_ADJUSTED = "credits_adjusted"
    PRICE_CHANGED = "price_changed"
    PRICE_HISTORY_REBUILT = "price_history_rebuilt"
    JOB_CANCELLED = "job_cancelled"
    """By an operator; what callers take back themselves is in the job's timeline."""
    JOB_RETRIED = "job_retried"
    JOB_RESOLVED = "job_resolved"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    WEBHOOK_ENDPOINT_CREATED = "webhook_endpoint_created"
    """By hand; those that jobs make by naming them are not noted."""
    WEBHOOK_SECRET_ROTATED = "webhook_secret_rotated"  # noqa: S105
    WEBHOOK_REPLAYED = "webhook_replayed"


async def list_audit(
    queries: Queries,
    *,
    act: Act | str | None = None,
    account_id: str | None = None,
    job_id: UUID | None = None,
    actor: str | None = None,
    below: int | None = None,
    most: int = 50,
) -> list[dict[str, Any]]:
    """Return entries, newest first, at most `most`; `below` is the last id of the page before.

    `actor` is compared with the actor, the login and the key's prefix. Raises `InvalidRequest`.
    """
    if act is not None and act not in set(Act):
        raise InvalidRequest([Fault("act", f"{act!r:.80} must be one of {', '.join(Act)}")])
    rows = await queries.fetch("list_audit", act, account_id, job_id, actor, below, most)
    return as_dicts(rows)
