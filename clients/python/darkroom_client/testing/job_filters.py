"""Filters and pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

from darkroom_client.generated.models import JobState
from darkroom_client.testing.checks.field_checks import Fault, shown
from darkroom_client.testing.checks.order_check import read_time, time_of
from darkroom_client.testing.http_server import MemoryRequest
from darkroom_client.testing.jobs import Jobs, MemoryJob
from darkroom_client.testing.problem import invalid_request

T = TypeVar("T")

STATES = get_args(JobState)
_EQUAL = ("id", "reason", "model", "task", "priority", "provider_task_id")
_FILTERS = (
    *("account_id", "state", "reason", "model", "task", "priority", "created_from", "created_to"),
    *("provider_task_id", "idempotency_key", "metadata", "retried", "scheduled", "id"),
)
_LIST = (*_FILTERS, "limit", "cursor", "fields")
_LIMIT_MAX = 1_000


def parse_query(request: MemoryRequest, allowed: Collection[str] | None) -> dict[str, str]:
    """Return the query. `allowed` is None for a list of jobs. Refuses other parameters."""
    names = _LIST if allowed is None else allowed
    faults = [
        Fault(name, f"is not a parameter here; allowed: {', '.join(names) or 'none'}")
        for name in request.query
        if name not in names
    ]
    if faults:
        raise invalid_request(faults)
    return dict(request.query)


def select_jobs(jobs: Jobs, account_id: str, where: Mapping[str, str]) -> list[MemoryJob]:
    """Return the jobs of the account that match every filter, newest first."""
    faults = [*_state_faults(where), *_time_faults(where)]
    if faults:
        raise invalid_request(faults)
    return [
        job
        for job in reversed(jobs.by_id.values())
        if job.fields["account_id"] == account_id and _matches(job, where)
    ]


def _matches(job: MemoryJob, where: Mapping[str, str]) -> bool:
    fields = job.fields
    if "state" in where and fields["state"] not in where["state"].split(","):
        return False
    if any(name in where and fields[name] != where[name] for name in _EQUAL):
        return False
    if "account_id" in where and fields["account_id"] != where["account_id"]:
        return False
    if "idempotency_key" in where and job.idempotency_key != where["idempotency_key"]:
        return False
    if "retried" in where and (job.retry_id is not None) != (where["retried"] == "true"):
        return False
    if "scheduled" in where and _is_scheduled(job) != (where["scheduled"] == "true"):
        return False
    return _matches_metadata(job, where) and _matches_time(job, where)


def _is_scheduled(job: MemoryJob) -> bool:
    is_later = time_of(job.fields["run_at"]) > datetime.now(UTC)
    return bool(job.fields["state"] == "queued" and is_later)


def _matches_metadata(job: MemoryJob, where: Mapping[str, str]) -> bool:
    if "metadata" not in where:
        return True
    name, _, wanted = where["metadata"].partition("=")
    value = job.fields["metadata"].get(name)
    return name in job.fields["metadata"] and _text(value) == wanted


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches_time(job: MemoryJob, where: Mapping[str, str]) -> bool:
    created_at = time_of(job.fields["created_at"])
    first, last = read_time(where.get("created_from", "")), read_time(where.get("created_to", ""))
    return (first is None or created_at >= first) and (last is None or created_at < last)


def _state_faults(where: Mapping[str, str]) -> list[Fault]:
    given = where.get("state", "").split(",") if "state" in where else []
    unknown = next((one for one in given if one not in STATES), None)
    if unknown is None:
        return []
    return [Fault("state", f"{shown(unknown)} must be one of {', '.join(STATES)}")]


def _time_faults(where: Mapping[str, str]) -> list[Fault]:
    return [
        Fault(name, f"{shown(where[name])} must be a time with its timezone")
        for name in ("created_from", "created_to")
        if name in where and read_time(where[name]) is None
    ]


def page_of(
    entries: Sequence[T], query: Mapping[str, str], id_of: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """Return one page of the entries, which are newest first, and the cursor of the next."""
    text = query.get("limit", "50")
    limit = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= limit <= _LIMIT_MAX:
        message = f"{shown(text)} must be a whole number from 1 to {_LIMIT_MAX}"
        raise invalid_request([Fault("limit", message)])
    cursor = query.get("cursor")
    ids = [id_of(one) for one in entries]
    first = ids.index(cursor) + 1 if cursor in ids else 0
    page = entries[first : first + limit]
    is_last = first + limit >= len(entries)
    return page, None if is_last else id_of(page[-1])
