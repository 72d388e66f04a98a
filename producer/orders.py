"""What a caller asks for: a validated request with who pays and the small print, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from shared.catalog import ImageRequest
from shared.errors import Fault, InvalidRequest

Priority = Literal["high", "normal", "low"]

KEY_LENGTH = 255
METADATA_BYTES = 16 * 1024
_ACCOUNT_ID = re.compile(r"[^\x00-\x20\x7f-\x9f\s]{1,200}")
_WEBHOOK_LENGTH = 2048
# Behind one more backslash the same letters are mere text.
_NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


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
        faults = [fault for check in _CHECKS if (fault := check(self)) is not None]
        if faults:
            raise InvalidRequest(faults)


def _check_account(order: Order) -> Fault | None:
    if isinstance(order.account_id, str) and _ACCOUNT_ID.fullmatch(order.account_id):
        return None
    return Fault(
        "account_id", f"{order.account_id!r:.80} must be 1 to 200 printable characters, no spaces"
    )


def _check_key(order: Order) -> Fault | None:
    key = order.idempotency_key
    if key is None or (isinstance(key, str) and 1 <= len(key) <= KEY_LENGTH and key.isprintable()):
        return None
    return Fault("idempotency_key", f"must be 1 to {KEY_LENGTH} printable characters")


def _check_metadata(order: Order) -> Fault | None:
    try:
        size = len(orjson.dumps(dict(order.metadata)))
    except (TypeError, ValueError) as error:
        return Fault("metadata", f"must be a JSON object: {error}")
    if size > METADATA_BYTES:
        return Fault("metadata", f"is {size} bytes of JSON; at most {METADATA_BYTES} are allowed")
    if _NUL_IN_JSON.search(orjson.dumps(dict(order.metadata))):
        return Fault("metadata", "must not contain the character NUL")
    return None


def _check_webhook(order: Order) -> Fault | None:
    url = order.webhook_url
    if url is None:
        return None
    try:
        parts = urlsplit(url) if isinstance(url, str) and len(url) <= _WEBHOOK_LENGTH else None
    except ValueError:
        parts = None
    if parts and parts.scheme in {"http", "https"} and parts.hostname and url.isprintable():
        return None
    return Fault(
        "webhook_url",
        f"{url!r:.80} must be an http:// or https:// URL of at most {_WEBHOOK_LENGTH} characters",
    )


def _check_priority(order: Order) -> Fault | None:
    allowed = get_args(Priority)
    if order.priority in allowed:
        return None
    return Fault("priority", f"{order.priority!r:.80} must be one of {', '.join(allowed)}")


def _check_run_at(order: Order) -> Fault | None:
    if order.run_at is None or (
        isinstance(order.run_at, datetime) and order.run_at.tzinfo is not None
    ):
        return None
    return Fault("run_at", f"{order.run_at!r:.80} must be a moment with its timezone")


_CHECKS = (
    _check_account,
    _check_key,
    _check_metadata,
    _check_webhook,
    _check_priority,
    _check_run_at,
)
