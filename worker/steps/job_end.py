"""What follows every end of a job: it is counted, and whoever waits is told."""

from __future__ import annotations

import structlog

from shared.adapters.redis.change_messages import Change
from shared.domain.job import Job
from worker.dependencies import Dependencies

log = structlog.get_logger(__name__)


def report_job_end(deps: Dependencies, job: Job, lag_seconds: float | None = None) -> None:
    """Count the end and push it to waiters, who look again by themselves if the push is lost."""
    deps.undecided_polls.pop(job.id, None)
    deps.overdue_jobs.discard(job.id)
    deps.metrics.count_job_end(job, lag_seconds)
    deps.publish_change(Change(job.id, has_ended=True))
    log.info(
        "job_ended",
        job_id=str(job.id),
        state=job.state.value,
        reason=job.reason,
        credits_charged=str(job.credits_charged) if job.credits_charged is not None else None,
    )
