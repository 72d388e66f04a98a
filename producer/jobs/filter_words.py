"""Says in words which jobs a filter means: `failed jobs of acme`."""

from __future__ import annotations

from datetime import datetime

from producer.jobs.job_filter import JobFilter


def describe_jobs(where: JobFilter, count: int | None = None) -> str:
    """Return the jobs of the filter in words, with their number if it is given."""
    states = " or ".join(where.state)
    noun = "job" if count == 1 else "jobs"
    number = "" if count is None else f"{count:,}"
    priority = f"{where.priority}-priority" if where.priority else ""
    words = [number, states, priority, noun]
    for preposition, value in (
        ("of", where.account_id),
        ("of model", where.model),
        ("of task", where.task),
        ("for the reason", where.reason),
        ("with the idempotency key", where.idempotency_key),
        ("with the metadata", "=".join(where.metadata) if where.metadata else None),
        ("with Kie's task", where.provider_task_id),
        ("with the id", where.id),
        ("since", _moment(where.created_from)),
        ("before", _moment(where.created_to)),
    ):
        if value is not None:
            words.append(f"{preposition} {value}")
    if where.scheduled is not None:
        words.append("that are scheduled" if where.scheduled else "that are not scheduled")
    if where.retried is not None:
        words.append("that were retried" if where.retried else "that were not retried")
    return " ".join(word for word in words if word)


def _moment(value: datetime | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"
