"""An order: a validated request with its order fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from producer.orders.argument_types import REQUEST_ADVICE, describe_type
from producer.orders.field_limits import KEY_LENGTH
from producer.orders.order_fields import (
    METADATA_BYTES,
    OrderFields,
    find_order_faults,
)
from shared.catalog import ImageRequest
from shared.domain.job import Priority
from shared.errors import Fault, InvalidRequest

__all__ = ["KEY_LENGTH", "METADATA_BYTES", "Order", "Priority", "PriorityLimit", "require_orders"]

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
        request: object = self.request
        if not isinstance(request, ImageRequest):
            sentence = f"is {describe_type(request)}; {REQUEST_ADVICE}"
            faults.insert(0, Fault("request", sentence))
        if faults:
            raise InvalidRequest(faults)


def require_orders(orders: object) -> None:
    """Raise `InvalidRequest` if this is not a list or tuple of orders."""
    if not isinstance(orders, Sequence) or isinstance(orders, str | bytes):
        raise InvalidRequest(
            [Fault("orders", f"is {describe_type(orders)}; give a list of `Order`")]
        )
    faults = [
        Fault(f"jobs.{index}", f"is {describe_type(one)}; give an `Order`")
        for index, one in enumerate(orders)
        if not isinstance(one, Order)
    ]
    if faults:
        raise InvalidRequest(faults)
