"""What a caller asks for: a validated request with who pays and the small print, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from producer.orders.order_fields import (
    KEY_LENGTH,
    METADATA_BYTES,
    OrderFields,
    Priority,
    find_order_faults,
)
from shared.catalog import ImageRequest
from shared.errors import InvalidRequest

__all__ = ["KEY_LENGTH", "METADATA_BYTES", "Order", "Priority"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job to enqueue.

    Raises `InvalidRequest` with every fault of the small print; the request has been checked when
    it was made.
    """

    request: ImageRequest
    account_id: str
    """Who pays; the account must exist."""
    idempotency_key: str | None = None
    """The same key of the same account is the same job; at most 255 characters."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The caller's own notes, given back as they are; at most 16 KiB of JSON."""
    webhook_url: str | None = None
    """Where the end is to be told; http or https."""
    priority: Priority = "normal"
    run_at: datetime | None = None
    """Not before this moment, timezone-aware. Default: now."""
    retry_of: UUID | None = None
    """The job of which this one repeats the request."""

    def __post_init__(self) -> None:
        faults = find_order_faults({name: getattr(self, name) for name in OrderFields.model_fields})
        if faults:
            raise InvalidRequest(faults)
