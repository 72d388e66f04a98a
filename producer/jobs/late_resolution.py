"""Settles late tasks in doubt by an operator's verdict: these are the images, or there are none.

The job stays as it ended and nobody is charged. The verdict goes through the statement that keeps
the images of a readable late success, so whoever comes first wins: Kie's answer, or the operator.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from producer.actor import actor_to_json
from producer.jobs.held_resolution import HeldResolution
from producer.jobs.locked_rows import describe_job_rows, name_locked_row
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.job_rows import job_from_row
from shared.domain.job import Job
from shared.errors import DatabaseRefused, Fault, InvalidRequest

_LATE_TASK_CONSTRAINT = "late_tasks_deliver_once"


async def resolve_late(
    database: Database, job: Job, resolution: HeldResolution, task_id: str | None
) -> Job:
    """End the doubt about a late task of an ended job, with who and why, in one transaction.

    Returns the job, with the images in `late_result_urls` where there are any. `task_id` is needed
    where several of its tasks are in doubt. Raises `InvalidRequest`, with nothing stored, where the
    task is not in doubt or its images are another job's.
    """
    late = _select_late_task(job, await database.fetch("list_late_tasks", job.id), task_id)
    try:
        with name_locked_row(describe_job_rows(job.id, job.account_id)):
            row = await database.fetch_row(
                "settle_late",
                job.id,
                late["attempt"],
                late["provider_task_id"],
                list(resolution.result_urls),
                resolution.reason,
                actor_to_json(resolution.actor),
            )
    except DatabaseRefused as error:
        if error.constraint != _LATE_TASK_CONSTRAINT:
            raise
        row = None
    if row is None:
        raise _already_resolved(job, late["provider_task_id"])
    return job_from_row(row)


def _select_late_task(
    job: Job, rows: Sequence[asyncpg.Record], task_id: str | None
) -> asyncpg.Record:
    """Return the task in doubt that is meant."""
    in_doubt = [row for row in rows if row["in_doubt_since"] is not None]
    meant = [row for row in in_doubt if task_id in {None, row["provider_task_id"]}]
    if task_id is None and len(meant) > 1:
        names = ", ".join(repr(row["provider_task_id"]) for row in meant)
        raise InvalidRequest([Fault("task_id", f"say which task is meant: {names} are in doubt")])
    if not meant:
        raise _not_in_doubt(job, task_id)
    return meant[0]


def _not_in_doubt(job: Job, task_id: str | None) -> InvalidRequest:
    what = "no late task of it is in doubt" if task_id is None else f"{task_id!r} is not in doubt"
    return InvalidRequest([Fault("id", f"job {job.id} is {job.state}, and {what}")])


def _already_resolved(job: Job, task_id: str) -> InvalidRequest:
    sentence = (
        f"task {task_id!r} of job {job.id} was settled meanwhile, or its images are another job's"
    )
    return InvalidRequest([Fault("task_id", sentence)])
