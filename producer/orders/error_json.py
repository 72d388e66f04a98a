"""What an error says as JSON, besides its sentence: over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from producer.accounts.limit_errors import (
    DailyLimitReached,
    PriorityNotAllowed,
    QueueLimitReached,
)
from shared import errors
from shared.errors import DarkroomError, Fault
from shared.job_json import credits_to_json, timestamp_to_json

TYPE_PREFIX = "urn:darkroom:problem:"
"""With the code of an error, the `type` of a problem."""


def error_members(error: DarkroomError) -> dict[str, Any]:
    """Return the members of an error, such as `errors` with each fault of a request."""
    if isinstance(error, errors.InvalidRequest):
        return {"errors": faults_to_json(error.faults)}
    if isinstance(error, PriorityNotAllowed):
        return {
            "errors": faults_to_json(error.faults),
            "account_id": error.account_id,
            "limit": "max_priority",
            "allowed": error.allowed,
        }
    if isinstance(error, QueueLimitReached | DailyLimitReached):
        return _limit_members(error)
    if isinstance(error, errors.InsufficientCredits):
        return {
            "account_id": error.account_id,
            "needed": credits_to_json(error.needed),
            "available": credits_to_json(error.available),
            "held": credits_to_json(error.held),
        }
    if isinstance(error, errors.IdempotencyConflict):
        return {"job_id": error.job_id, "differs": list(error.differs)}
    if isinstance(error, errors.TooLateToCancel):
        return {"job_id": error.job_id, "state": error.state}
    return {}


def _limit_members(error: QueueLimitReached | DailyLimitReached) -> dict[str, Any]:
    numbers = {"allowed": error.allowed, "used": error.used, "asked": error.asked}
    members = {
        "account_id": error.account_id,
        "limit": error.limit,
        **{name: credits_to_json(Decimal(number)) for name, number in numbers.items()},
    }
    if isinstance(error, DailyLimitReached):
        members["resets_at"] = timestamp_to_json(error.resets_at)
    return members


def faults_to_json(faults: Sequence[Fault]) -> list[dict[str, str]]:
    """Return the member `errors`: each fault with its field."""
    return [{"field": fault.field, "message": fault.message} for fault in faults]
