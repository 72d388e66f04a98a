"""Resolves submissions of unknown outcome by an operator's decision: a task exists, or none does.

The resolution uses the same guarded statements as the worker's evidence, so only the first one
counts: a callback, a late reply, the time limit, or the operator. A resolution with a task charges
nothing. The poll that follows charges, by the answer of record-info.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from producer.actor import MAX_REASON_LENGTH, Actor, actor_name, actor_to_json
from producer.jobs.job_repository import JobRepository
from producer.jobs.locked_rows import describe_job_rows, name_locked_row
from shared.adapters.postgres.database import Database, Queries
from shared.adapters.postgres.job_rows import job_from_row
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused, Fault, InvalidRequest, StateConflict

RESOLVED_EVENT = "resolved_by_operator"
TASK_ID_LENGTH = 200
_TASK_ID_CONSTRAINT = "jobs_provider_task_id_key"


@dataclass(frozen=True, slots=True)
class SubmissionResolution:
    """An operator's decision on one submission. Raises `InvalidRequest` with every fault."""

    task_id: str | None
    """The task that Kie created. None if there is none."""
    reason: str | None
    """The reason, which is required without a task."""
    actor: Actor | str | None = None
    """The operator. None stands for the login of the database session."""

    def __post_init__(self) -> None:
        faults = [
            Fault(name, f"{text!r} must be 1 to {limit} printable characters")
            for name, text, limit in (
                ("task_id", self.task_id, TASK_ID_LENGTH),
                ("reason", self.reason, MAX_REASON_LENGTH),
                ("actor", actor_name(self.actor), MAX_REASON_LENGTH),
            )
            if text is not None and not is_printable_text(text, limit)
        ]
        if self.task_id is not None and any(one.isspace() for one in self.task_id):
            faults.append(Fault("task_id", f"{self.task_id!r} must have no blanks"))
        if self.task_id is None and self.reason is None:
            faults.append(Fault("reason", "say why: a verdict that no task exists needs a reason"))
        if faults:
            raise InvalidRequest(faults)


async def resolve_unknown(
    database: Database, job_id: UUID, resolution: SubmissionResolution, *, deadline_seconds: float
) -> Job:
    """Move an unknown job by the resolution, and store actor and reason, in one transaction.

    The job is returned `generating`, with its deadline `deadline_seconds` from now, or
    `failed`/`submission_lost` with its hold released. Raises `JobNotFound`, and `StateConflict` if
    the job is not `unknown` or if another job has the task, each with nothing stored.
    """
    job = await JobRepository(database).get(job_id)
    if job.state is not JobState.UNKNOWN:
        raise _not_unknown(job)
    await _refuse_task_of_another(database, job_id, resolution)
    try:
        with name_locked_row(describe_job_rows(job_id, job.account_id)):
            row = await database.fetch_row(
                "resolve_unknown",
                job.id,
                job.attempt,
                resolution.task_id,
                deadline_seconds,
                resolution.reason,
                actor_to_json(resolution.actor),
            )
    except DatabaseRefused as error:
        if error.constraint == _TASK_ID_CONSTRAINT:
            await _refuse_task_of_another(database, job_id, resolution)
        raise
    if row is None:
        raise _not_unknown(await JobRepository(database).get(job_id))
    return job_from_row(row)


async def _refuse_task_of_another(
    queries: Queries, job_id: UUID, resolution: SubmissionResolution
) -> None:
    if resolution.task_id is None:
        return
    row = await queries.fetch_row("task_holder", resolution.task_id, job_id)
    if row is not None:
        sentence = f"task {resolution.task_id!r} belongs to job {row['job_id']} already"
        raise StateConflict([Fault("task_id", f"{sentence}: one task is one job's")])


def _not_unknown(job: Job) -> StateConflict:
    if job.state is JobState.UNKNOWN:
        # It returned to the queue and was submitted again: the resolution was for another attempt.
        sentence = f"has begun attempt {job.attempt} meanwhile: look at it again before you resolve"
        return StateConflict([Fault("id", f"job {job.id} {sentence}")])
    return StateConflict(
        [Fault("id", f"job {job.id} is {job.state}: only an unknown submission can be resolved")]
    )


def is_printable_text(text: str, limit: int) -> bool:
    """Return whether the text is printable, not blank, and at most `limit` characters long."""
    return bool(text.strip()) and len(text) <= limit and text.isprintable()
