"""What follows the end of a job or of a task: metrics, a published change, the brake of the family.

A success costs no round trip unless the brake needs it.
"""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.change_messages import Change
from shared.domain.job import Job
from shared.domain.kie_outcomes import TaskFailed
from shared.domain.lifecycle import Reason
from shared.errors import RedisDown
from worker.dependencies import Dependencies
from worker.store.job_cache import GeneratingJob
from worker.store.settled_job import SettledJob

log = structlog.get_logger(__name__)


def report_job_end(
    deps: Dependencies,
    job: Job | SettledJob,
    lag_seconds: float | None = None,
    *,
    is_announced: bool = True,
) -> None:
    """Count the end and publish it. A listener that misses the message polls Postgres.

    An end that is not announced yet is published as a change.
    """
    deps.poll_state.end_job(job.id)
    deps.metrics.count_job_end(job, lag_seconds)
    deps.publish_change(Change(job.id, has_ended=is_announced))
    log.info(
        "job_ended",
        job_id=str(job.id),
        state=job.state.value,
        reason=job.reason,
        credits_charged=str(job.credits_charged) if job.credits_charged is not None else None,
    )


async def report_task_success(deps: Dependencies, job: GeneratingJob) -> None:
    """Report a task that ended with images to the brake of its family."""
    brake = deps.accounts.family_brake_of(job.provider_account, job.family_name)
    if brake is not None and brake.needs_success_reports:
        await ignore_redis_outage(brake.record_delivered(job.id), doing="note_outcome")


async def report_task_failure(deps: Dependencies, job: GeneratingJob, outcome: TaskFailed) -> None:
    """Report a task that Kie failed to the brake of its family, unless its request was at fault."""
    brake = deps.accounts.family_brake_of(job.provider_account, job.family_name)
    if brake is None:
        return
    if not outcome.is_request_fault:
        await ignore_redis_outage(
            brake.record_task_failure(job.id, outcome.reason, outcome.message), doing="note_outcome"
        )
    elif brake.level > 0:
        await ignore_redis_outage(brake.end_probe(job.id), doing="note_outcome")


async def report_task_overdue(
    deps: Dependencies, job: GeneratingJob, elapsed_seconds: float
) -> None:
    """Report a task that takes far longer than any of its kind did, once for each task."""
    brake = deps.accounts.family_brake_of(job.provider_account, job.family_name)
    if brake is None or deps.poll_state.is_overdue(job.id):
        return
    deps.poll_state.mark_overdue(job.id)
    message = f"tasks do not end: one is not done after {elapsed_seconds:.0f} s"
    await ignore_redis_outage(
        brake.record_task_failure(job.id, Reason.DEADLINE_EXCEEDED, message), doing="note_outcome"
    )


async def ignore_redis_outage(call: Awaitable[object], *, doing: str) -> None:
    """Await the call. A Redis that is down is logged and not raised.

    Use it for a call whose loss the reconciler or the next outcome makes up for.
    """
    try:
        await call
    except RedisDown as error:
        incidents.record_outage(error, doing=doing)
