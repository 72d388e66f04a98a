"""What follows every end of a job: it is counted, and whoever waits is told."""

from __future__ import annotations

import structlog

from shared.domain.job import Job
from shared.errors import RedisDown
from worker.deps import Deps

log = structlog.get_logger(__name__)


async def announce_end(deps: Deps, job: Job, lag_seconds: float | None = None) -> None:
    """Count the end and push it to waiters, who look again by themselves if the push is lost."""
    deps.faults.pop(job.id, None)
    deps.metrics.count_end(job, lag_seconds)
    log.info(
        "job_ended",
        job_id=str(job.id),
        state=job.state.value,
        reason=job.reason,
        credits_charged=str(job.credits_charged) if job.credits_charged is not None else None,
    )
    try:
        await deps.delivery.announce_ends([job.id])
    except RedisDown as error:
        log.warning("end_not_announced", job_id=str(job.id), error=str(error))
