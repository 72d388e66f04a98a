"""What follows from the success of a job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import structlog

from shared.domain.lifecycle import JobState
from worker.store.job_cache import GeneratingJob

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SettledJob:
    """What follows from the success of a job."""

    id: UUID
    model: str
    state: JobState
    reason: None
    credits_charged: Decimal
    submitted_at: datetime | None
    """Read from the row, with `finished_at`: how long the task took is learned from these two."""
    finished_at: datetime


def read_settled_job(job: GeneratingJob, row: asyncpg.Record) -> SettledJob:
    """Return the job after its success. Logs where its row of `pricing` is missing."""
    if row["price_row_missing"]:
        log.critical(
            "price_row_missing",
            job_id=str(job.id),
            model=job.model,
            task=job.task,
            quantity=job.quantity,
            charged=str(row["credits_charged"]),
        )
    return SettledJob(
        id=job.id,
        model=job.model,
        state=JobState.SUCCEEDED,
        reason=None,
        credits_charged=row["credits_charged"],
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
    )
