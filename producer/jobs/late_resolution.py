"""Resolves late tasks in doubt by an operator's decision: these are the images, or there are none.

The job stays as it ended, and nothing is charged. The resolution uses the statement that stores the
images of a readable late success. Only the first one counts: Kie's answer, or the operator's.
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
from shared.errors import DatabaseRefused, Fault, StateConflict

_LATE_TASK_CONSTRAINT = "late_tasks_deliver_once"


async def resolve_late(
    database: Database,
    job: Job,
    resolution: HeldResolution,
    task_id: str | None,
    *,
    is_copied: bool = False,
) -> Job:
    """Resolve a late task of an ended job, and store the actor and the reason, in one transaction.

    Returns the job, with the images, if any, in `late_result_urls`. `task_id` is required if
    several of its tasks are in doubt. Raises `StateConflict`, with nothing stored, if the task is
    not in doubt or if its images belong to another job.
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
                is_copied,
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
    """Return the row of the task in doubt with this id, or of the only task in doubt."""
    in_doubt = [row for row in rows if row["in_doubt_since"] is not None]
    selected = [row for row in in_doubt if task_id in {None, row["provider_task_id"]}]
    if task_id is None and len(selected) > 1:
        names = ", ".join(repr(row["provider_task_id"]) for row in selected)
        raise StateConflict([Fault("task_id", f"say which task is meant: {names} are in doubt")])
    if not selected:
        raise _not_in_doubt(job, task_id)
    return selected[0]


def _not_in_doubt(job: Job, task_id: str | None) -> StateConflict:
    what = "no late task of it is in doubt" if task_id is None else f"{task_id!r} is not in doubt"
    return StateConflict([Fault("id", f"job {job.id} is {job.state}, and {what}")])


def _already_resolved(job: Job, task_id: str) -> StateConflict:
    sentence = (
        f"task {task_id!r} of job {job.id} was settled meanwhile, or its images are another job's"
    )
    return StateConflict([Fault("task_id", sentence)])
