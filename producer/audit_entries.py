"""Audit entries: the kinds of acts of operators, and their list."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict, Unpack
from uuid import UUID

from producer.list_pages import PAGE_BYTES, RowPage
from shared.adapters.postgres.row_dicts import as_dicts
from shared.errors import Fault, InvalidRequest

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Queries


class Act(StrEnum):
    """What is noted. Stored in `audit_entries.act`; a CHECK there lists the same words."""

    ACCOUNT_CREATED = "account_created"
    CREDITS_GRANTED = "credits_granted"
    CREDITS_ADJUSTED = "credits_adjusted"
    PRICE_CHANGED = "price_changed"
    PRICE_SCHEDULED = "price_scheduled"
    PRICE_UNSCHEDULED = "price_unscheduled"
    PRICE_HISTORY_REBUILT = "price_history_rebuilt"
    JOB_REFUNDED = "job_refunded"
    JOB_CANCELLED = "job_cancelled"
    """Cancelled by an operator. Cancels by callers are in the events of the job."""
    JOB_RETRIED = "job_retried"
    JOB_RESOLVED = "job_resolved"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    WEBHOOK_ENDPOINT_CREATED = "webhook_endpoint_created"
    """Created by an operator. Endpoints that jobs create have no entry."""
    WEBHOOK_SECRET_CREATED = "webhook_secret_created"  # noqa: S105
    """The secret of an account. Those of endpoints are made with them."""
    WEBHOOK_SECRET_REVOKED = "webhook_secret_revoked"  # noqa: S105
    WEBHOOK_SECRET_ROTATED = "webhook_secret_rotated"  # noqa: S105
    WEBHOOK_REPLAYED = "webhook_replayed"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_RESUMED = "queue_resumed"
    ALERT_ACKNOWLEDGED = "alert_acknowledged"
    """The evidence of an alert, which an operator has dealt with, was deleted from Redis."""
    MODEL_ROUTED = "model_routed"
    """The jobs of a model are sent by another family, or by its own again."""
    IMAGES_PRUNED = "images_pruned"
    """Copies of images were deleted by age: an entry for each batch."""
    IMAGES_RETRIED = "images_retried"
    """Failed copies of images were made due again: an entry for each batch."""
    DATA_PRUNED = "data_pruned"
    """Data of ended jobs was pruned by an operator: an entry for each batch. Workers write none."""
    PROMPTS_ERASED = "prompts_erased"
    """The prompts of an account are erased: the request for it."""
    ACCOUNT_LIMITS_CHANGED = "account_limits_changed"
    SESSION_OPENED = "session_opened"
    """Somebody logged in to the console."""
    SESSION_ENDED = "session_ended"
    LOGIN_FAILED = "login_failed"
    """The first failed login of a network within an hour. `login_failures` has every one."""


class AuditFilter(TypedDict, total=False):
    """Filters for audit entries. A filter that is missing or None matches every entry."""

    act: Act | str | None
    account_id: str | None
    job_id: UUID | None
    actor: str | None
    """Compared with the actor, the login and the key's prefix."""


async def audit_page(
    queries: Queries, *, below: int | None, limit: int, **filters: Unpack[AuditFilter]
) -> RowPage:
    """Return the newest entries with an id less than `below`, as many as fit on a page.

    Raises `InvalidRequest`.
    """
    act = filters.get("act")
    if act is not None and act not in set(Act):
        raise InvalidRequest([Fault("act", f"{act!r:.80} must be one of {', '.join(Act)}")])
    rows = await queries.fetch(
        "list_audit",
        act,
        filters.get("account_id"),
        filters.get("job_id"),
        filters.get("actor"),
        below,
        limit,
        PAGE_BYTES,
    )
    return RowPage.of(as_dicts(rows))
