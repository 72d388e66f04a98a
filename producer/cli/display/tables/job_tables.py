"""The table of jobs, and all details of one job as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.cli.display.console import build_table, styled_state
from producer.cli.display.tables.audit_table import build_audit_table
from producer.cli.display.tables.webhook_table import build_webhooks_table
from producer.cli.display.text_format import (
    NO_VALUE,
    command_text,
    credits_text,
    duration_between_text,
    duration_text,
    job_task_text,
    printable,
    shortened,
    state_text,
    time_text,
)
from producer.jobs.job_counts import JobCount
from producer.row_json import row_to_json
from producer.waiting.wait_texts import wait_text
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.job_json import job_to_json
from shared.stored_json import read_stored_object

_EMPTY: tuple[object, ...] = (None, False, "", [])
_FIELDS_WITH_ROWS = frozenset(
    {
        *("id", "account_id", "model", "task", "variant", "request", "state", "reason", "message"),
        *("progress", "provider_task_id", "result_urls", "late_result_urls", "images"),
        # In the tables of attempts, events and credits.
        *("attempt", "route", "created_at", "submitted_at", "finished_at"),
        *("credits_quoted", "credits_charged"),
        # Only in the JSON.
        *("metadata", "priority", "run_at"),
        *("cancel_requested_at", "pruned_at"),
        # In one row.
        *("position", "estimated_start_at", "wait_reason"),
    }
)

JobDetails = Mapping[str, Sequence[Mapping[str, Any]]]
"""What is stored about a job, as `Producer.job_details` returns it."""


def build_jobs_table(jobs: Sequence[Job], *, now: datetime) -> Table:
    """Return a table with a row for each job."""
    table = build_table(
        *("id", "account", "model", "job", "state", "credits", "age"),
        right=("credits", "age"),
        drop=("model", "credits", "age", "job", "account"),
    )
    for job in jobs:
        credits = job.credits_quoted if job.credits_charged is None else job.credits_charged
        table.add_row(
            str(job.id),
            printable(job.account_id),
            printable(job.model),
            job_task_text(job),
            styled_state(printable(state_text(job, now))),
            credits_text(credits) if job.state not in {"failed", "cancelled"} else "0",
            duration_text((now - job.created_at).total_seconds()),
        )
    return table


def build_counts_table(counts: Sequence[JobCount]) -> Table:
    """Return a table with a row for each state and reason."""
    table = build_table("state", "reason", "jobs", right=("jobs",))
    for one in counts:
        reason = NO_VALUE if one.reason is None else printable(one.reason)
        table.add_row(styled_state(one.state), reason, f"{one.jobs:,}")
    return table


def job_details_view(job: Job, details: JobDetails, *, now: datetime) -> Group:
    """Return all details of a job as tables."""
    summary = _summary(job, now)
    for other in details["retries"]:
        summary.add_row("retried as", f"{other['id']}, {other['state']}")
    parts: list[RenderableType] = [summary, "", _timeline(job, details["events"])]
    if details["attempts"]:
        parts += ["", _attempts(details["attempts"])]
    if details["late_tasks"]:
        parts += ["", _late_tasks(details["late_tasks"])]
    parts += ["", _money(job, details["entries"])]
    if details["webhooks"]:
        parts += ["", build_webhooks_table(details["webhooks"], title="Webhooks")]
    if details["audit"]:
        parts += ["", build_audit_table(details["audit"], title="What operators did")]
    if job.is_terminal and job.state != "succeeded" and not details["retries"]:
        retry = command_text("jobs", "retry", str(job.id))
        parts += ["", Text(f"to run the same request again: {retry}", style="dim")]
    return Group(*parts)


def job_details_to_json(job: Job, details: JobDetails) -> dict[str, Any]:
    """Return the job object with all details of the job."""
    return {
        **job_to_json(job),
        "idempotency_key": job.idempotency_key,
        "webhook_url": job.webhook_url,
        "retry_of": str(job.retry_of) if job.retry_of else None,
        "price_id": job.price_id,
        **{name: [row_to_json(row) for row in rows] for name, rows in details.items()},
    }


def _summary(job: Job, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("job", str(job.id))
    table.add_row("state", styled_state(printable(state_text(job, now))))
    if job.message:
        table.add_row("message", printable(job.message))
    table.add_row("account", printable(job.account_id))
    table.add_row("task", f"{printable(job.model)}, {job_task_text(job)}")
    for name, value in job.request.items():
        if value not in _EMPTY and name != "quantity":
            table.add_row(name.replace("_", " "), _request_value(value))
    for name, value in (
        ("priority", job.priority if job.priority != "normal" else None),
        ("waits", _wait_text(job, now)),
        ("cancel requested", job.cancel_requested_at and time_text(job.cancel_requested_at)),
        ("pruned", job.pruned_at and f"{time_text(job.pruned_at)}: the request was deleted"),
        ("Kie's task", job.provider_task_id),
        ("key", job.idempotency_key),
        ("retry of", job.retry_of),
    ):
        if value is not None:
            table.add_row(name, printable(str(value)))
    for number, url in enumerate(job.result_urls, start=1):
        table.add_row(f"image {number}", printable(url))
    for number, url in enumerate(job.late_result_urls or (), start=1):
        table.add_row(f"late image {number}", printable(url))
    for name, text in rows_of_other_fields(job_to_json(job)):
        table.add_row(name, text)
    return table


def _wait_text(job: Job, now: datetime) -> str | None:
    return wait_text(job, now, duration_text) if job.state is JobState.QUEUED else None


def rows_of_other_fields(job: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a row for each field of the job object that has none of its own.

    So the details of a job show a new field without a change here.
    """
    for name, value in job.items():
        if name not in _FIELDS_WITH_ROWS and value not in _EMPTY:
            yield name.replace("_", " "), _request_value(value)


def _request_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(printable(str(one)) for one in value)
    return shortened(str(value), 400)


def _timeline(job: Job, events: Sequence[Mapping[str, Any]]) -> Table:
    table = build_table(
        "at",
        "after",
        "event",
        "detail",
        right=("after",),
        drop=("after",),
        sentences=("detail",),
        title="Timeline",
    )
    for event in events:
        detail = ", ".join(
            f"{name.replace('_', ' ')} {shortened(str(value), 120)}"
            for name, value in read_stored_object(event["detail"]).items()
            if value is not None
        )
        after = duration_between_text(job.created_at, event["at"])
        table.add_row(time_text(event["at"]), f"+{after}", event["event"], detail)
    return table


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> Table:
    table = build_table(
        *("#", "Kie account", "by", "sent", "answered", "outcome", "cost to us", "message"),
        right=("#", "cost to us"),
        drop=("by", "Kie account", "answered", "cost to us"),
        sentences=("message",),
        title="Paid POSTs to Kie",
    )
    for attempt in attempts:
        table.add_row(
            str(attempt["number"]),
            attempt["provider_account"],
            attempt["route"] or NO_VALUE,
            time_text(attempt["sent_at"]),
            f"after {duration_between_text(attempt['sent_at'], attempt['answered_at'])}"
            if attempt["answered_at"]
            else NO_VALUE,
            attempt["outcome"] or "no answer yet",
            _cost_text(attempt),
            shortened(attempt["message"] or NO_VALUE, 200),
        )
    return table


def _cost_text(attempt: Mapping[str, Any]) -> str:
    """Return what Kie says that the task cost, and what the price says if that is another."""
    consumed, expected = attempt["consumed_credits"], attempt["expected_credits"]
    if consumed is None:
        return NO_VALUE
    told = credits_text(consumed)
    return told if consumed == expected else f"{told}, by the price {credits_text(expected)}"


def _late_tasks(late_tasks: Sequence[Mapping[str, Any]]) -> Table:
    table = build_table(
        *("#", "Kie's task", "since", "checks", "next check", "outcome", "cost to us"),
        right=("#", "checks", "cost to us"),
        drop=("checks", "since", "next check"),
        title="Tasks that the job does not wait for; never charged",
    )
    for late in late_tasks:
        cost = late["provider_credits"]
        table.add_row(
            str(late["attempt"]),
            printable(late["provider_task_id"]),
            time_text(late["noted_at"]),
            str(late["checks"]),
            NO_VALUE if late["next_check_at"] is None else time_text(late["next_check_at"]),
            (late["outcome"] or "none yet") + (", in doubt" if late["in_doubt_since"] else ""),
            NO_VALUE if cost is None else credits_text(cost),
        )
    return table


def _money(job: Job, entries: Sequence[Mapping[str, Any]]) -> Table:
    table = build_table(
        *("at", "entry", "credits", "balance", "held"),
        right=("credits", "balance", "held"),
        title=f"Credits: {credits_text(job.credits_quoted)} quoted,"
        f" {credits_text(job.credits_charged) if job.credits_charged is not None else 'nothing'}"
        " charged",
    )
    for entry in entries:
        table.add_row(
            time_text(entry["created_at"]),
            entry["kind"],
            credits_text(entry["credits"]),
            credits_text(entry["balance_after"]),
            credits_text(entry["held_after"]),
        )
    return table
