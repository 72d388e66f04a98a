"""Describes jobs and tasks that Postgres has lost, by the evidence and deliveries in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.redis.lost_write_log import LostWriteEvidence, LostWriteLog
from shared.domain.counted import counted

_MAX_NAMED = 5
FIX = (
    "read which: `darkroom queue lost-writes`; tell the callers of these jobs to place them again,"
    " and save the images of the tasks from Kie's log within 14 days; see"
    " docs/operations.md#writes-were-lost. Then `darkroom queue acknowledge writes_lost`"
)


async def describe_lost_writes(queries: Queries, redis_url: str) -> str | None:
    """Return a sentence about lost jobs and tasks, or None. Raises `DependencyDown`."""
    async with connect_redis(redis_url, connections=1) as redis:
        evidence = LostWriteLog(redis)
        losses = await evidence.read()
        delivered = [_parse_uuid(text) for text in await evidence.delivered_jobs()]
    wanted = [job_id for job_id in delivered if job_id is not None]
    rows = await queries.fetch("missing_jobs", wanted) if wanted else []
    return _sentence(losses, {str(row["id"]) for row in rows})


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _sentence(losses: LostWriteEvidence, undelivered: set[str]) -> str | None:
    gone = sorted({job.job_id for job in losses.jobs if not job.is_known} | undelivered)
    back = [job.job_id for job in losses.jobs if job.is_known]
    tasks = [f"{job.task_id} ({job.account})" for job in losses.jobs if job.task_id is not None]
    parts = [
        f"event {mark.event_id} of {mark.at} is gone, the newest was then"
        f" {'none' if newest is None else f'{newest.event_id} of {newest.at}'}"
        for mark, newest in losses.missing_events
    ]
    if gone:
        missing = counted(len(gone), "accepted job is", "accepted jobs are")
        parts.append(f"{missing} not in Postgres: {_name_first(gone)}")
    if back:
        earlier = counted(len(back), "job is as it was", "jobs are as they were")
        parts.append(f"{earlier} before the task: {_name_first(back)}")
    if tasks:
        unowned = counted(len(tasks), "task at Kie has", "tasks at Kie have")
        parts.append(f"{unowned} no job: {_name_first(tasks)}")
    return "; ".join(parts) if parts else None


def _name_first(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
