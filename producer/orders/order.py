"""An order: a validated request with its order fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from producer.orders.field_limits import KEY_LENGTH
from producer.orders.order_fields import (
    METADATA_BYTES,
    OrderFields,
    find_order_faults,
)
from shared.catalog import ImageRequest
from shared.domain.job import Priority
from shared.errors import InvalidRequest

__all__ = ["KEY_LENGTH", "METADATA_BYTES", "Order", "Priority", "PriorityLimit"]

PriorityLimit = Literal["refuse", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job to enqueue.

    Raises `InvalidRequest` with every fault of the order fields. The request is already validated.
    """

    request: ImageRequest
    account_id: str
    """The account that pays. It must exist."""
    idempotency_key: str | None = None
    """The same key of the same account returns the same job. At most 255 characters."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Notes of the caller, returned unchanged. At most 16 KiB of JSON."""
    webhook_url: str | None = None
    """The http or https URL that receives a webhook when the job ends."""
    priority: Priority = "normal"
    run_at: datetime | None = None
    """The earliest time to submit the job, timezone-aware. None means now."""
    retry_of: UUID | None = None
    """The job whose request this job repeats."""
    priority_limit: PriorityLimit | None = None
    """What happens to a priority above the account's `max_priority`: it is refused, it becomes
    `max_priority` (`lower`), or it stays (None). The API sets it for service keys."""

    def __post_init__(self) -> None:
        faults = find_order_faults({name: getattr(self, name) for name in OrderFields.model_fields})
        if faults:
            raise InvalidRequest(faults)
