"""What the end of a task says of its model family: a Kie that finishes nothing gets no more jobs.

Good news costs no round trip unless bad news came before it.
"""

from __future__ import annotations

from collections.abc import Awaitable

from shared.adapters.monitoring.incident_log import incidents
from shared.domain.job import Job
from shared.domain.kie_outcomes import TaskFailed
from shared.domain.lifecycle import Reason
from shared.errors import RedisDown
from worker.dependencies import Dependencies


async def report_task_success(deps: Dependencies, job: Job) -> None:
    """Note that a task ended with images."""
    brake = deps.accounts.family_brake_of(job.provider_account, job.model)
    if brake is not None and brake.needs_success_reports:
        await _quietly(brake.record_delivered(job.id))


async def report_task_failure(deps: Dependencies, job: Job, verdict: TaskFailed) -> None:
    """Note that Kie failed a task, unless the request itself was at fault."""
    brake = deps.accounts.family_brake_of(job.provider_account, job.model)
    if brake is None:
        return
    if not verdict.is_request_fault:
        await _quietly(brake.record_task_failure(job.id, verdict.reason, verdict.message))
    elif brake.level > 0:
        await _quietly(brake.end_probe(job.id))


async def report_task_overdue(deps: Dependencies, job: Job, elapsed_seconds: float) -> None:
    """Note, once for each task, that it takes far longer than any of its kind did."""
    brake = deps.accounts.family_brake_of(job.provider_account, job.model)
    if brake is None or job.id in deps.overdue_jobs:
        return
    deps.overdue_jobs.add(job.id)
    message = f"tasks do not end: one is not done after {elapsed_seconds:.0f} s"
    await _quietly(brake.record_task_failure(job.id, Reason.DEADLINE_EXCEEDED, message))


async def _quietly(redis_call: Awaitable[object]) -> None:
    """Leave it out where Redis is away: the next outcome counts."""
    try:
        await redis_call
    except RedisDown as error:
        incidents.record_outage(error, doing="note_outcome")
