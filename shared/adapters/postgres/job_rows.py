"""Turns rows of `jobs` into `Job`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.stored_json import UNREADABLE_KEY, read_stored_object

log = structlog.get_logger(__name__)

_LOGGED_MAX = 10_000
_logged_job_ids: set[UUID] = set()
"""The jobs whose unreadable rows were logged."""


def job_from_row(row: asyncpg.Record) -> Job:
    """Return the job of a row of `jobs`, with the account of its attempt if the row has it."""
    return Job(
        id=UUID(int=row["id"].int),
        account_id=row["account_id"],
        model=row["model"],
        task=row["task"],
        request=read_json_object(row["request"], row["id"]),
        state=JobState(row["state"]),
        reason=row["reason"],
        message=row["message"],
        progress=row["progress"],
        provider_task_id=row["provider_task_id"],
        result_urls=tuple(row["result_urls"]),
        credits_quoted=row["credits_quoted"],
        credits_charged=row["credits_charged"],
        attempt=row["attempt"],
        created_at=row["created_at"],
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
        metadata=read_json_object(row["metadata"], row["id"]),
        priority=row["priority"],
        run_at=row["run_at"],
        quantity=row["quantity"],
        due_at=row["due_at"],
        deadline_at=row["deadline_at"],
        attempted_at=row["attempted_at"],
        idempotency_key=row["idempotency_key"],
        price_id=row["price_id"],
        webhook_url=row["webhook_url"],
        retry_of=row["retry_of"],
        late_result_urls=_urls_or_none(row["late_result_urls"]),
        provider_account=row.get("provider_account"),
    )


def _urls_or_none(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def jobs_from_rows(rows: Iterable[asyncpg.Record]) -> list[Job]:
    """Return the jobs of these rows. Unreadable rows are skipped and logged once."""
    jobs = []
    for row in rows:
        try:
            jobs.append(job_from_row(row))
        except (ValueError, TypeError, KeyError) as error:
            if _is_first_log(row["id"]):
                log.error("job_row_unreadable", job_id=str(row["id"]), error=repr(error))
    return jobs


def read_json_object(value: Any, job_id: UUID) -> Mapping[str, Any]:
    """Read a JSON object of a job. An unreadable value is logged once and replaced.

    The value is text on a caller's connection, which has no codec for jsonb.
    """
    read = read_stored_object(value)
    if UNREADABLE_KEY in read and _is_first_log(job_id):
        log.error("job_json_unreadable", job_id=str(job_id), error=read[UNREADABLE_KEY])
    return read


def _is_first_log(job_id: UUID) -> bool:
    if job_id in _logged_job_ids:
        return False
    if len(_logged_job_ids) >= _LOGGED_MAX:
        _logged_job_ids.clear()
    _logged_job_ids.add(job_id)
    return True
