"""Detects that Postgres has lost committed writes, and records what this worker knows of them.

After a failover to a standby that lagged, accepted jobs are gone, and paid tasks at Kie have no
job. They cannot be restored from here. What is known is logged at ERROR and stored in Redis, where
`darkroom doctor` reads it.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.lost_write_log import EventPosition, LostJob, LostWriteLog
from shared.domain.job import Job
from shared.errors import DarkroomError, DependencyDown, JobNotFound
from worker.dependencies import Dependencies
from worker.store.job_cache import GeneratingJob

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 5.0


async def record_missing_job(deps: Dependencies, job_id: UUID, known: GeneratingJob | None) -> None:
    """Record that a job with a delivery is not in Postgres. `known` is its last known state."""
    await _record_lost(deps, _lost_job(job_id, known))


async def record_if_rolled_back(deps: Dependencies, known: GeneratingJob) -> None:
    """Record a task whose job is gone, or is again in a state before the task."""
    try:
        now = await deps.store.load(known.id)
    except JobNotFound:
        await record_missing_job(deps, known.id, known)
        return
    except DependencyDown as error:
        incidents.record_outage(error, doing="look_for_losses")
        return
    is_before = now.attempt < known.attempt or (
        now.attempt == known.attempt and now.provider_task_id is None and not now.is_terminal
    )
    if is_before:
        await _record_lost(deps, _lost_job(known.id, known, is_known=True))


async def load_or_record_lost_task(deps: Dependencies, job: Job, task_id: str) -> Job | None:
    """Return the job as it is now. Records its new task where Postgres has lost the job or the
    attempt.
    """
    try:
        now: Job | None = await deps.store.load(job.id)
    except JobNotFound:
        now = None
    if now is None or now.attempt < job.attempt:
        lost = LostJob(str(job.id), task_id, job.provider_account, is_known=now is not None)
        await _record_lost(deps, lost)
    return now


def _lost_job(job_id: UUID, known: GeneratingJob | None, *, is_known: bool = False) -> LostJob:
    task_id = None if known is None else known.provider_task_id
    account = None if known is None else known.provider_account
    return LostJob(str(job_id), task_id, account, is_known)


async def _record_lost(deps: Dependencies, *lost: LostJob) -> None:
    for one in lost:
        log.error(
            "job_lost",
            job_id=one.job_id,
            provider_task_id=one.task_id,
            account=one.account,
            meaning="Postgres has lost writes; run darkroom doctor",
        )
    try:
        await LostWriteLog(deps.delivery_queue.redis).add_jobs(lost)
    except DependencyDown as error:
        incidents.record_outage(error, doing="keep_losses")


async def check_event_mark(deps: Dependencies) -> None:
    """Check that the newest event of the last check still exists. Raises `DependencyDown`."""
    lost_writes = LostWriteLog(deps.delivery_queue.redis)
    mark = await lost_writes.newest_event()
    given = (None, None) if mark is None else (mark.event_id, mark.at)
    row = await deps.queries.fetch_row("compare_event_mark", *given)
    if row is None:
        return
    newest = None if row["newest_id"] is None else EventPosition(row["newest_id"], row["newest_at"])
    if mark is not None and not row["is_there"]:
        log.error(
            "writes_lost",
            event_gone=mark.event_id,
            happened_at=mark.at,
            newest_event=None if newest is None else newest.event_id,
            meaning="Postgres has lost writes; run darkroom doctor",
        )
        await lost_writes.add_missing_event(mark, newest)
    if newest is not None and newest != mark:
        await lost_writes.set_newest_event(newest)


async def watch_lost_writes(deps: Dependencies) -> None:
    """When any worker has detected a loss, check all tasks in the cache of this one."""
    seen = 0
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        if not deps.store.cache:
            continue
        try:
            count = await LostWriteLog(deps.delivery_queue.redis).count()
            if count > seen:
                await _check_cached_jobs(deps)
            seen = count
        except DarkroomError as error:
            incidents.record_outage(error, doing="look_for_losses")


async def _check_cached_jobs(deps: Dependencies) -> None:
    known = deps.store.cache.all()
    rows = await deps.queries.fetch("missing_jobs", list(known))
    await _record_lost(
        deps, *(_lost_job(UUID(int=row["id"].int), known[row["id"]]) for row in rows)
    )
