"""Turns a `Job` into the JSON object of the public contract."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.domain.job import Job

_INTEGER_MAX = 2**63 - 1
"""Larger numbers are written as floats."""
_FLOAT_MAX = Decimal(10) ** 308


def credits_to_json(credits: Decimal | None) -> int | float | None:
    """Return credits as a JSON number. Whole amounts are integers.

    NaN and infinity become None, because JSON has no such numbers.
    """
    if credits is None or not credits.is_finite():
        return None
    if abs(credits) > _INTEGER_MAX:
        return float(credits) if abs(credits) < _FLOAT_MAX else None
    return int(credits) if credits == credits.to_integral_value() else float(credits)


def timestamp_to_json(time: datetime | None) -> str | None:
    """Return a time as RFC 3339 text in UTC, or None."""
    return time.isoformat().replace("+00:00", "Z") if time else None


JOB_FIELDS = (
    *("id", "account_id", "model", "task", "request", "state", "reason", "message", "progress"),
    *("provider_task_id", "result_urls", "late_result_urls", "credits_quoted", "credits_charged"),
    *("attempt", "created_at", "submitted_at", "finished_at", "metadata", "priority", "run_at"),
)
"""The fields of the job object, in order."""


def job_to_json(job: Job) -> dict[str, Any]:
    """Return the job object of the public API."""
    return {
        "id": str(job.id),
        "account_id": job.account_id,
        "model": job.model,
        "task": job.task,
        "request": dict(job.request),
        "state": job.state.value,
        "reason": job.reason,
        "message": job.message,
        "progress": job.progress,
        "provider_task_id": job.provider_task_id,
        "result_urls": list(job.result_urls),
        "late_result_urls": _list_or_none(job.late_result_urls),
        "credits_quoted": credits_to_json(job.credits_quoted),
        "credits_charged": credits_to_json(job.credits_charged),
        "attempt": job.attempt,
        "created_at": timestamp_to_json(job.created_at),
        "submitted_at": timestamp_to_json(job.submitted_at),
        "finished_at": timestamp_to_json(job.finished_at),
        "metadata": dict(job.metadata),
        "priority": job.priority,
        "run_at": timestamp_to_json(job.run_at),
    }


def _list_or_none(urls: tuple[str, ...] | None) -> list[str] | None:
    return None if urls is None else list(urls)
