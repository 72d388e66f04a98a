"""Filters and pages of lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

from darkroom_client.generated.models import JobState
from darkroom_client.testing.checks.field_checks import Fault, shown
from darkroom_client.testing.checks.order_check import read_time, time_of
from darkroom_client.testing.http_server import MemoryRequest
from darkroom_client.testing.jobs import Jobs, MemoryJob
from darkroom_client.testing.problem import invalid_request
from darkroom_client.testing.request_parts import field_faults, query_faults

T = TypeVar("T")
Query = Mapping[str, str]

STATES = get_args(JobState)
_EQUAL = ("id", "reason", "model", "task", "priority", "provider_task_id")
FILTERS = (
    *("account_id", "state", "reason", "model", "task", "priority", "created_from", "created_to"),
    *("provider_task_id", "idempotency_key", "metadata", "retried", "scheduled", "id"),
)
_JOB_ID = re.compile("[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_LIMIT_MAX = 1_000


def parse_query(
    request: MemoryRequest, allowed: Collection[str], *checks: Callable[[Query], Sequence[Fault]]
) -> Query:
    """Return the query. Refuses other parameters, and what the checks find, all together."""
    found = [fault for check in checks for fault in check(request.query)]
    faults = [*query_faults(request, allowed), *found]
    if faults:
        raise invalid_request(faults)
    return request.query


def parse_job_list(request: MemoryRequest) -> tuple[Query, Collection[str] | None]:
    """Return the query of a list of jobs, and the fields to show, or None for all."""
    allowed = (*FILTERS, "limit", "cursor", "fields")
    query = parse_query(request, allowed, where_faults, job_page_faults, field_faults)
    names = query.get("fields")
    return query, None if names is None else names.split(",")


def select_jobs(jobs: Jobs, account_id: str, where: Query) -> list[MemoryJob]:
    """Return the jobs of the account that match every filter, newest first."""
    faults = where_faults(where)
    if faults:
        raise invalid_request(faults)
    return [
        job
        for job in reversed(jobs.by_id.values())
        if job.fields["account_id"] == account_id and _matches(job, where)
    ]


def _matches(job: MemoryJob, where: Query) -> bool:
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


def _matches_metadata(job: MemoryJob, where: Query) -> bool:
    if "metadata" not in where:
        return True
    name, _, wanted = where["metadata"].partition("=")
    value = job.fields["metadata"].get(name)
    return name in job.fields["metadata"] and _text(value) == wanted


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches_time(job: MemoryJob, where: Query) -> bool:
    created_at = time_of(job.fields["created_at"])
    first, last = read_time(where.get("created_from", "")), read_time(where.get("created_to", ""))
    return (first is None or created_at >= first) and (last is None or created_at < last)


def where_faults(where: Query) -> list[Fault]:
    """Return what is wrong with the values of filters."""
    given = where["state"].split(",") if "state" in where else []
    unknown = next((one for one in given if one not in STATES), None)
    faults = []
    if unknown is not None:
        faults.append(Fault("state", f"{shown(unknown)} must be one of {', '.join(STATES)}"))
    wanted = "must be a time with its timezone, such as 2030-01-31T18:00:00Z"
    return [
        *faults,
        *(
            Fault(name, f"{shown(where[name])} {wanted}")
            for name in ("created_from", "created_to")
            if name in where and read_time(where[name]) is None
        ),
    ]


def job_page_faults(query: Query) -> list[Fault]:
    """Return what is wrong with the page of a list of jobs."""
    return [*limit_faults(query), *cursor_faults(query, _JOB_ID)]


def limit_faults(query: Query) -> list[Fault]:
    """Return what is wrong with the length of a page."""
    text = query.get("limit", "1")
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _LIMIT_MAX:
        return []
    return [
        Fault("limit", f"{shown(text)} must be a whole number from 1 to {_LIMIT_MAX}"),
    ]


def cursor_faults(query: Query, pattern: re.Pattern[str]) -> list[Fault]:
    """Return what is wrong with a cursor that is the id of an entry."""
    text = query.get("cursor")
    if text is None or pattern.fullmatch(text):
        return []
    return [Fault("cursor", f"{shown(text)} must be the cursor of a page before")]


def page_of(
    entries: Sequence[T], query: Query, id_of: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """Return one page of the entries, which are newest first, and the cursor of the next."""
    limit = int(query.get("limit", "50"))
    cursor = query.get("cursor")
    ids = [id_of(one) for one in entries]
    first = ids.index(cursor) + 1 if cursor in ids else 0
    page = entries[first : first + limit]
    is_last = first + limit >= len(entries)
    return page, None if is_last else id_of(page[-1])
