"""The job that a settlement made of it, as the settling statement tells."""

from __future__ import annotations

import asyncpg
import structlog

from shared.domain import job_events
from shared.domain.job import Job, replace_fields
from shared.domain.lifecycle import JobState

log = structlog.get_logger(__name__)


def _settled_job(job: Job, event: job_events.Completed, row: asyncpg.Record) -> Job:
    """Return the job after its success; logs where `pricing` has lost its row."""
    if row["price_row_missing"]:
        log.critical(
            "price_row_missing",
            job_id=str(job.id),
            model=job.model,
            task=job.task,
            quantity=job.quantity,
            charged=str(row["credits_charged"]),
        )
    return replace_fields(
        job,
        state=JobState.SUCCEEDED,
        reason=None,
        message=event.message,
        progress=1.0,
        result_urls=event.result_urls,
        credits_charged=row["credits_charged"],
        price_id=row["price_id"],
        # As the row has it: how long the task took is learned from these two.
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
    )
