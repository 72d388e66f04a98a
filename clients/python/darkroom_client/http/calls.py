"""Every call of the API as data: what is sent, and how its answer is read. Nothing is sent here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from darkroom_client.generated.models import (
    Account,
    BulkResult,
    File,
    JobCounts,
    JobFields,
    JobState,
    LedgerEntry,
    Price,
    Priority,
    Quote,
    Statement,
)
from darkroom_client.json_reader import read_model

T = TypeVar("T")

ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
"""The states that never change."""
WAIT_SECONDS_MAX = 45.0
"""How long one request waits: below the 60 s after which proxies usually give up."""
PAGE_LENGTH = 100
_STATEMENT_LINES = 1000


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T]
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str = "application/json"
    idempotency_key: str | None = None
    is_repeatable: bool = True
    """Whether the request may be sent again after a failure."""
    reads_text: bool = False
    """Whether the answer is text instead of JSON."""
    wait_seconds: float = 0.0
    """How much longer than usual the answer may take."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list."""

    entries: tuple[T, ...]
    next_cursor: str | None


class JobFilter(TypedDict, total=False):
    """Which jobs are listed, counted, cancelled or retried. A job must match every filter."""

    account_id: str
    state: JobState | Sequence[JobState]
    reason: str
    model: str
    task: str
    priority: Priority
    created_from: datetime
    """Jobs created at this time or later."""
    created_to: datetime
    """Jobs created before this time."""
    provider_task_id: str
    idempotency_key: str
    metadata: Mapping[str, str | int]
    """One key of the metadata with its value."""
    retried: bool
    scheduled: bool
    """Whether the job waits for its `run_at`."""
    id: str


def filter_query(where: Mapping[str, Any]) -> dict[str, str]:
    """Return the filters as the API takes them, in a query and in a body."""
    return {name: _filter_text(value) for name, value in where.items() if value is not None}


def _filter_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def _time_text(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} must be a time with its timezone")
    return value.isoformat()


def _path(*parts: str | int) -> str:
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def _json(value: Any) -> bytes:
    return json.dumps(value, default=_json_value, ensure_ascii=False).encode()


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{value!r:.60} cannot be sent as JSON")


# --- jobs -----------------------------------------------------------------------------------


def read_job(data: Any) -> JobFields:
    """Return a job object of the API."""
    return read_model(JobFields, data)


def complete_order(order: Mapping[str, Any], account_id: str | None) -> dict[str, Any]:
    """Return the order with the account of the client and the task that its images imply."""
    completed = {name: value for name, value in order.items() if value is not None}
    if account_id is not None:
        completed.setdefault("account_id", account_id)
    completed.setdefault("task", "image-to-image" if "image_urls" in order else "text-to-image")
    return completed


def create_job(order: Mapping[str, Any], key: str | None, check_images: bool) -> Call[JobFields]:
    """Place one job."""
    return Call(
        "POST",
        "/v1/jobs",
        read_job,
        query=_image_check(check_images),
        content=_json(order),
        idempotency_key=_checked_key(key),
    )


def _checked_key(key: str | None) -> str:
    """Return the key, or a new one. Raises `ValueError` for one that no header can carry."""
    if key is None:
        return str(uuid.uuid4())
    if not (key.isascii() and key.isprintable()) or key != key.strip() or not key:
        raise ValueError(
            f"idempotency_key: {key!r:.60} must be 1 to 255 printable ASCII characters"
        )
    return key


def create_jobs(
    orders: Iterable[Mapping[str, Any]], key: str | None, check_images: bool
) -> Call[tuple[JobFields, ...]]:
    """Place all jobs or none."""
    return Call(
        "POST",
        "/v1/jobs/batch",
        lambda data: tuple(map(read_job, data["jobs"])),
        query=_image_check(check_images),
        content=_json({"jobs": list(orders)}),
        idempotency_key=_checked_key(key),
    )


def _image_check(is_wanted: bool) -> dict[str, str]:
    return {"check_images": "true"} if is_wanted else {}


def get_job(job_id: str, wait_seconds: float = 0.0) -> Call[JobFields]:
    """Show a job, or wait for its end for up to `WAIT_SECONDS_MAX`."""
    seconds = min(wait_seconds, WAIT_SECONDS_MAX)
    query = {"wait": f"{seconds:.3f}"} if seconds > 0 else {}
    return Call("GET", _path("jobs", job_id), read_job, query=query, wait_seconds=seconds)


def list_jobs(where: JobFilter, limit: int, cursor: str | None) -> Call[Page[JobFields]]:
    """List jobs, newest first."""
    query = {**filter_query(where), **page_query(limit, cursor)}
    return Call("GET", "/v1/jobs", page_reader("jobs", JobFields), query=query)


def count_jobs(where: JobFilter) -> Call[JobCounts]:
    """Count jobs by state and reason."""
    return Call(
        "GET",
        "/v1/jobs/counts",
        lambda data: read_model(JobCounts, data),
        query=filter_query(where),
    )


def cancel_job(job_id: str) -> Call[JobFields]:
    """Cancel a queued job. A second cancel is refused, so it is sent once."""
    return Call("POST", _path("jobs", job_id, "cancel"), read_job, is_repeatable=False)


def retry_job(job_id: str, again: bool) -> Call[JobFields]:
    """Run the request of an ended job again. A job has one retry, so it may be repeated."""
    return Call("POST", _path("jobs", job_id, "retry"), read_job, content=_json({"again": again}))


def change_many(
    action: Literal["cancel", "retry"],
    selection: Sequence[str] | Mapping[str, Any],
    *,
    dry_run: bool,
    cursor: str | None,
    again: bool = False,
) -> Call[BulkResult]:
    """Cancel or retry many jobs: ids, or filters. A repeated call does nothing twice."""
    body: dict[str, Any] = {"dry_run": dry_run}
    if isinstance(selection, Mapping):
        body["where"] = filter_query(selection)
    else:
        body["ids"] = list(selection)
    if cursor is not None:
        body["cursor"] = cursor
    if again:
        body["again"] = True
    return Call(
        "POST",
        _path("jobs", action),
        lambda data: read_model(BulkResult, data),
        content=_json(body),
    )


def get_image(job_id: str, number: int) -> Call[bytes]:
    """Download the copy of an image of a job."""
    return Call("GET", _path("jobs", job_id, "images", number), bytes, wait_seconds=30.0)


def get_link(url: str) -> Call[bytes]:
    """Download from a link, which needs no key."""
    return Call("GET", url, bytes)


# --- files, prices, accounts ----------------------------------------------------------------


def upload_file(content: bytes, account_id: str | None) -> Call[File]:
    """Upload an image. The same bytes are the same file, so it may be repeated."""
    return Call(
        "POST",
        "/v1/files",
        _read_file,
        query={"account_id": account_id} if account_id else {},
        content=content,
        content_type="application/octet-stream",
        wait_seconds=120.0,
    )


def get_file(file_id: str) -> Call[File]:
    """Show an uploaded image."""
    return Call("GET", _path("files", file_id), _read_file)


def _read_file(data: Any) -> File:
    return read_model(File, data)


def list_prices() -> Call[tuple[Price, ...]]:
    """List every price in force."""
    return Call(
        "GET",
        "/v1/prices",
        lambda data: tuple(read_model(Price, one) for one in data["prices"]),
    )


def quote_order(order: Mapping[str, Any]) -> Call[Quote]:
    """Say what an order would cost and when it would be submitted. Nothing is placed."""
    return Call(
        "POST",
        "/v1/quote",
        lambda data: read_model(Quote, data),
        content=_json(order),
    )


def get_account(account_id: str) -> Call[Account]:
    """Show the credits of an account."""
    return Call("GET", _path("accounts", account_id), lambda data: read_model(Account, data))


def list_ledger(account_id: str, limit: int, cursor: str | None) -> Call[Page[LedgerEntry]]:
    """List the movements of credits, newest first."""
    return Call(
        "GET",
        _path("accounts", account_id, "ledger"),
        page_reader("entries", LedgerEntry),
        query=page_query(limit, cursor),
    )


def _period(from_: datetime | None, to: datetime | None) -> dict[str, str]:
    return filter_query({"from": from_, "to": to})


def get_statement(
    account_id: str, from_: datetime | None, to: datetime | None, cursor: str | None
) -> Call[Statement]:
    """Show what changed the balance in a period, by month and line."""
    query = {**_period(from_, to), **page_query(_STATEMENT_LINES, cursor)}
    path = _path("accounts", account_id, "statement")
    return Call("GET", path, lambda data: read_model(Statement, data), query=query)


def statement_csv(account_id: str, from_: datetime | None, to: datetime | None) -> Call[str]:
    """Return the lines of a statement as CSV."""
    path = _path("accounts", account_id, "statement.csv")
    return Call("GET", path, str, query=_period(from_, to), reads_text=True)


def job_events_path(job_id: str) -> str:
    """Return the path of the events of a job."""
    return _path("jobs", job_id, "events")


def account_events_path(account_id: str) -> str:
    """Return the path of the events of all jobs of an account."""
    return _path("accounts", account_id, "events")


def page_query(limit: int, cursor: str | None) -> dict[str, str]:
    """Return the parameters of one page."""
    return {"limit": str(limit), **({"cursor": cursor} if cursor else {})}


def page_reader(name: str, kind: type[T]) -> Callable[[Any], Page[T]]:
    """Return what reads a page of models from its member `name`."""
    return lambda data: Page(
        tuple(read_model(kind, one) for one in data[name]), data["next_cursor"]
    )


def fields_of(job: JobFields) -> dict[str, Any]:
    """Return the fields of a job by name, without copies of their values."""
    return {one.name: getattr(job, one.name) for one in fields(JobFields)}
