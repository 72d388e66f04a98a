"""One method for each event that moves a job. Each is one guarded statement.

The states before and after come from the lifecycle table. Every method returns the moved job, or
raises `StaleJob` where the job was moved before, in which case nothing was written. Moves that
every job makes are written in batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
import orjson

from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.job_rows import job_from_row
from shared.domain import job_events
from shared.domain.job import Job, replace_fields
from shared.domain.lifecycle import TRANSITIONS, JobState, Reason, event_name
from shared.errors import (
    DarkroomError,
    DatabaseRefused,
    JobNotFound,
    StaleJob,
    TaskOfAnotherJob,
    TooEarly,
)
from shared.settings import ChargeBasis
from worker.batching.micro_batch import BATCHES_PER_SECOND
from worker.limits.active_pauses import JobPaused, KieAccountPaused
from worker.limits.model_routes import RouteChanged, RoutedJob
from worker.store.busy_rows import BusyRows, RequiredRows
from worker.store.job_cache import GeneratingJob, JobCache
from worker.store.settled_job import SettledJob, read_settled_job
from worker.store.single_statements import SingleStatements
from worker.store.statement_batches import BatchedReads, BatchedStatement

_ONE_JOB_PER_TASK = "jobs_provider_task_id_key"
"""The constraint that refuses a task id which another job has."""

# By event: the states before, the state after, and the name.
_TRANSITION_PARAMETERS = {
    one.event: (
        tuple(sorted(state.value for state in one.sources)),
        one.target.value,
        event_name(one.event),
    )
    for one in TRANSITIONS
}


@dataclass(frozen=True, slots=True)
class _Release:
    """How a job ends without images, and what becomes of its newest attempt."""

    reason: str
    message: str
    attempt_outcome: str | None = None


class JobStore:
    """Reads and moves jobs. Raises `PostgresDown` and `RowBusy`."""

    def __init__(self, queries: Queries, busy: BusyRows | None = None) -> None:
        self.queries = queries
        self.busy = busy or BusyRows()
        self._single = SingleStatements(queries, self.busy)
        self.cache = JobCache()
        self._reads = BatchedReads(queries)
        self._claims = BatchedStatement(queries, "claim_jobs", self.busy)
        self._submitted = BatchedStatement(queries, "record_submitted", self.busy)
        # No step depends on the stored progress, so it is written half as often.
        self._progress = BatchedStatement(
            queries, "record_progress", self.busy, most=200, per_second=BATCHES_PER_SECOND / 2
        )
        self._settlements = BatchedStatement(queries, "settle_jobs", self.busy)

    async def load(self, job_id: UUID) -> Job:
        """Return the job as it is now, or raise `JobNotFound`."""
        row = await self._reads.row(job_id)
        if row is None:
            raise JobNotFound(str(job_id))
        return job_from_row(row)

    async def load_for_submit(self, job_id: UUID) -> RoutedJob:
        """Return the job as it is now, and the route of its model. Raises `JobNotFound`, and
        `JobPaused` where it is queued and an active pause applies to it.
        """
        row = await self._reads.row(job_id)
        if row is None:
            raise JobNotFound(str(job_id))
        if row["is_paused"]:
            raise JobPaused(job_id)
        return RoutedJob(job_from_row(row), row["route_in_force"])

    async def load_for_poll(self, job_id: UUID) -> GeneratingJob | None:
        """Return the job as this worker last saw it, or None if it has no task to poll.

        A cached job may be out of date. That is found when it is moved, because every write is
        guarded. Raises `JobNotFound`.
        """
        return self.cache.get(job_id) or self.cache.update(await self.load(job_id))

    async def claim(self, job: Job, event: job_events.Claimed) -> Job:
        """Commit the intent to POST: a new attempt under its token, of one Kie account, by a route.

        Saying the same claim twice is safe: where the first reply was lost, the second finds it.
        Raises `JobPaused`, `KieAccountPaused` where a pause applies to the Kie account, and
        `RouteChanged` where another route is in force.
        """
        sources, target, name = _TRANSITION_PARAMETERS[job_events.Claimed]
        row = await self._claims.run(
            RequiredRows.of(job),
            (event.token, event.provider_account, event.route),
            (sources, target, event.worker, name),
        )
        if row is None:
            found = await self.queries.fetch_row("find_claim", job.id, event.token, target)
            if found is None:
                raise await self._why_not_claimed(job, event)
            return self._cached(job_from_row(found))
        claimed = replace_fields(
            job,
            state=JobState(target),
            reason=None,
            message=None,
            attempt=row["attempt"],
            attempted_at=row["attempted_at"],
            provider_account=event.provider_account,
            route=event.route,
        )
        return self._cached(claimed)

    async def record_route_unfit(self, job: Job, event: job_events.RouteUnfit) -> Job:
        """Let a queued job wait that its route cannot carry. The hold stays.

        Raises `RouteChanged` where another route is in force.
        """
        values = (Reason.ROUTE_UNFIT, event.message)
        after_name = (event.route, event.delay_seconds)
        row = await self._move_one(
            RequiredRows.of(job), job.attempt, event, "record_route_unfit", values, *after_name
        )
        if row is None:
            raise RouteChanged(str(job.id), event_name(type(event)))
        return self._cached(job_from_row(row))

    async def record_submitted(self, job: Job, event: job_events.Submitted) -> Job:
        """Store the task id. Where the job has moved on, store it on the attempt alone.

        Raises `TaskOfAnotherJob`, and `DatabaseRefused` for another rule.
        """
        sources, target, name = _TRANSITION_PARAMETERS[job_events.Submitted]
        try:
            row = await self._submitted.run(
                RequiredRows.of(job),
                (job.attempt, event.provider_task_id),
                (sources, target, event.deadline_seconds, name),
            )
        except DatabaseRefused as error:
            if error.constraint != _ONE_JOB_PER_TASK:
                raise
            raise TaskOfAnotherJob(
                error.message, sqlstate=error.sqlstate, constraint=error.constraint
            ) from error
        if row is None:
            await self.queries.fetch_row(
                "record_stray_task", job.id, job.attempt, event.provider_task_id
            )
            raise self._stale(job.id, name)
        submitted = replace_fields(
            job,
            state=JobState(target),
            reason=None,
            message=None,
            provider_task_id=event.provider_task_id,
            submitted_at=row["submitted_at"],
            deadline_at=row["deadline_at"],
        )
        return self._cached(submitted)

    async def has_callback(self, job_id: UUID, attempt: int) -> bool:
        """Return whether Kie has sent a callback for this attempt."""
        return await self.queries.fetch_row("callback_of_attempt", job_id, attempt) is not None

    async def record_deferred(self, job: Job, event: job_events.Deferred) -> Job:
        """Return the job to the queue. This attempt created no task.

        A job whose cancel was requested ends as cancelled instead, and its hold is released.
        """
        values = (event.reason, event.message, event.delay_seconds)
        row = await self._move_one(_money_of(job), job.attempt, event, "record_deferred", values)
        return self._job_or_stale(row, job.id, event)

    async def record_unknown(
        self, job: Job, event: job_events.OutcomeUnknown, *, lease_seconds: float = 0.0
    ) -> Job:
        """Mark the submission as unknown. A paid task may exist, so the hold stays.

        With `lease_seconds`, the attempt must be older than the lease by Postgres's clock, else
        `TooEarly` is raised.
        """
        values = (event.reason, event.message)
        row = await self._move_one(
            RequiredRows.of(job), job.attempt, event, "record_unknown", values, lease_seconds
        )
        if row is None:
            raise await self._why_not_moved(job, event, "attempted_seconds", lease_seconds)
        return self._cached(job_from_row(row))

    async def record_progress(self, job: GeneratingJob, event: job_events.Progressed) -> None:
        """Store Kie's progress."""
        sources, _, name = _TRANSITION_PARAMETERS[job_events.Progressed]
        row = await self._progress.run(
            RequiredRows.of(job), (job.attempt, event.progress), (sources, name)
        )
        if row is None:
            raise self._stale(job.id, name)
        self.cache.store(replace(job, progress=event.progress))

    async def hold_for_review(self, job: GeneratingJob, event: job_events.HeldForReview) -> None:
        """Put the job under review. The hold stays.

        A job that is under review for the same reason is stale.
        """
        values = (event.reason, event.message, event.answer)
        row = await self._move_one(
            RequiredRows.of(job), job.attempt, event, "hold_for_review", values
        )
        if row is None:
            raise self._stale(job.id, event_name(type(event)))
        # The row does not contain the Kie account of the task.
        self.cache.store(replace(job, reason=event.reason))

    async def settle(
        self,
        job: GeneratingJob,
        event: job_events.Completed,
        basis: ChargeBasis,
        copies_within_seconds: float | None = None,
    ) -> SettledJob:
        """Store the images, charge for them and end the job, in one statement.

        With `copies_within_seconds`, the images are to be copied, and the end of the job is
        announced once they are, or after that long.
        """
        sources, target, name = _TRANSITION_PARAMETERS[job_events.Completed]
        urls = orjson.dumps(event.result_urls).decode()
        delivered = min(len(event.result_urls), job.quantity)
        row = await self._settlements.run(
            _money_of(job),
            (
                *(job.attempt, urls, delivered, event.message),
                *(event.provider_finished_at, event.consumed_credits),
            ),
            (sources, target, basis, name, copies_within_seconds),
        )
        if row is None:
            raise self._stale(job.id, name)
        self.cache.forget(job.id)
        return read_settled_job(job, row)

    async def reject(self, job: Job, event: job_events.Rejected) -> Job:
        """End the job as failed and release its hold: Kie refused the request."""
        release = _Release(Reason.REJECTED, event.message, "rejected")
        row = await self._release(_money_of(job), job.attempt, event, release)
        return self._job_or_stale(row, job.id, event)

    async def fail(self, job: GeneratingJob, event: job_events.ProviderFailed) -> Job:
        """End the job as failed and release its hold: Kie reported a failure."""
        release = _Release(event.reason, event.message)
        row = await self._release(_money_of(job), job.attempt, event, release)
        return self._job_or_stale(row, job.id, event)

    async def exceed_deadline(self, job: GeneratingJob, event: job_events.DeadlineExceeded) -> Job:
        """End the job as failed and release its hold: the last poll found no end.

        Raises `TooEarly` where the deadline has not passed by Postgres's clock.
        """
        release = _Release(Reason.DEADLINE_EXCEEDED, event.message)
        row = await self._release(_money_of(job), job.attempt, event, release)
        if row is None:
            raise await self._why_not_moved(job, event, "deadline_seconds")
        return self._cached(job_from_row(row))

    async def lose_submission(
        self, job_id: UUID, attempt: int, event: job_events.SubmissionLost
    ) -> Job:
        """End the job as failed and release its hold: no evidence of a task within the limit."""
        release = _Release(Reason.SUBMISSION_LOST, event.message, "lost")
        required = RequiredRows(job_id, account_id="", moves_money=True)
        row = await self._release(required, attempt, event, release)
        return self._job_or_stale(row, job_id, event)

    async def _release(
        self, required: RequiredRows, attempt: int, event: job_events.Event, release: _Release
    ) -> asyncpg.Record | None:
        values = (release.reason, release.message, release.attempt_outcome)
        return await self._move_one(required, attempt, event, "release_job", values)

    async def _move_one(
        self,
        required: RequiredRows,
        attempt: int,
        event: job_events.Event,
        query: str,
        values: tuple[object, ...],
        *after_name: object,
    ) -> asyncpg.Record | None:
        """Run a statement that moves one job. Returns its row; None where its guard did not match.

        The parameters of each such statement are the job, its attempt, the states before and after,
        the values, and the name of the event.
        """
        sources, target, name = _TRANSITION_PARAMETERS[type(event)]
        arguments = (required.job_id, attempt, sources, target, *values, name, *after_name)
        return await self._single.run(required, query, *arguments)

    async def _why_not_claimed(self, job: Job, event: job_events.Claimed) -> DarkroomError:
        """Return why the claim has moved nothing: a pause, the due time, a new route, or another
        process.
        """
        sources, _, name = _TRANSITION_PARAMETERS[job_events.Claimed]
        row = await self.queries.fetch_row(
            "why_not_claimed", job.id, job.attempt, sources, event.provider_account
        )
        stale = self._stale(job.id, name)
        if row is None:
            return stale
        if row["is_paused"]:
            return JobPaused(job.id)
        if row["due_seconds"] > 0:
            return TooEarly(stale.job_id, name, row["due_seconds"])
        if row["route_in_force"] != event.route:
            return RouteChanged(str(job.id), name)
        return KieAccountPaused(event.provider_account) if row["is_kie_account_paused"] else stale

    async def _why_not_moved(
        self,
        job: Job | GeneratingJob,
        event: job_events.Event,
        time_column: str,
        after_seconds: float = 0.0,
    ) -> DarkroomError:
        """Return why a statement that depends on a time of the job has moved nothing."""
        sources, _, name = _TRANSITION_PARAMETERS[type(event)]
        row = await self.queries.fetch_row("time_left", job.id, job.attempt, sources)
        stale = self._stale(job.id, name)
        left_seconds = row[time_column] if row is not None else None
        if left_seconds is None or left_seconds + after_seconds <= 0:
            return stale
        return TooEarly(stale.job_id, name, left_seconds + after_seconds)

    def _job_or_stale(
        self, row: asyncpg.Record | None, job_id: UUID, event: job_events.Event
    ) -> Job:
        if row is None:
            raise self._stale(job_id, event_name(type(event)))
        return self._cached(job_from_row(row))

    def _cached(self, job: Job) -> Job:
        self.cache.update(job)
        return job

    def _stale(self, job_id: UUID, event: str) -> StaleJob:
        self.cache.forget(job_id)
        return StaleJob(str(job_id), event)


def _money_of(job: Job | GeneratingJob) -> RequiredRows:
    """Return the rows that a move of this job's money requires."""
    return RequiredRows.of(job, moves_money=True)
