"""Turns the refusals of the enqueue statement into errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from producer.accounts.limit_errors import (
    DailyLimitReached,
    LimitReached,
    PriorityNotAllowed,
    QueueLimitReached,
)
from shared.adapters.postgres.sqlstates import (
    ACCOUNT_MISSING,
    INSUFFICIENT_CREDITS,
    LIMIT_REACHED,
    PRIORITY_NOT_ALLOWED,
)
from shared.errors import (
    AccountNotFound,
    DarkroomError,
    DatabaseRefused,
    Fault,
    InsufficientCredits,
    InvalidRequest,
)

_FIELDS = {"run_at_is_near": "run_at", "a_webhook_url_is_bounded": "webhook_url"}
"""The field of an order that each rule of the database is about. Orders are checked before, so
only a clock ahead of that of Postgres comes here."""


def translate_refusal(error: DatabaseRefused) -> DarkroomError:
    """Return the error for a refusal by the enqueue statement. Others are returned as they are."""
    if error.constraint in _FIELDS:
        return InvalidRequest([Fault(_FIELDS[error.constraint], str(error))])
    if error.detail is None:
        return error
    if error.sqlstate == ACCOUNT_MISSING:
        return AccountNotFound(orjson.loads(error.detail)["account_id"])
    if error.sqlstate == INSUFFICIENT_CREDITS:
        detail = orjson.loads(error.detail)
        return InsufficientCredits(
            detail["account_id"],
            needed=Decimal(detail["needed"]),
            available=Decimal(detail["available"]),
            held=Decimal(detail["held"]),
        )
    if error.sqlstate == PRIORITY_NOT_ALLOWED:
        return PriorityNotAllowed(**orjson.loads(error.detail))
    if error.sqlstate == LIMIT_REACHED:
        return _limit_reached(orjson.loads(error.detail))
    return error


def _limit_reached(detail: Mapping[str, Any]) -> LimitReached:
    if detail["limit"] == QueueLimitReached.limit:
        return QueueLimitReached(
            detail["account_id"],
            allowed=detail["allowed"],
            used=detail["used"],
            asked=detail["asked"],
        )
    return DailyLimitReached(
        detail["account_id"],
        allowed=Decimal(detail["allowed"]),
        used=Decimal(detail["used"]),
        asked=Decimal(detail["asked"]),
        resets_at=datetime.fromisoformat(detail["resets_at"]).astimezone(UTC),
        seconds=detail["seconds"],
    )
