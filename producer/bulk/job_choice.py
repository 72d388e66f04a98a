"""Finds the jobs of a selection, and sorts them: possible, done before, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from producer.bulk.bulk_result import AccountCredits, BulkOutcome, BulkRefusal, BulkResult
from producer.bulk.job_selection import BulkAction, JobSelection
from producer.jobs.job_repository import JobRepository
from producer.jobs.job_retries import check_retry
from producer.orders.argument_types import require_type
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.job_rows import jobs_from_rows
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DarkroomError, JobNotFound, TooLateToCancel

MAX_COSTED_JOBS = 100_000
"""The most jobs whose credits a dry run adds up."""


@dataclass(frozen=True, slots=True)
class JobChoice:
    """The jobs that one call is for."""

    action: BulkAction
    ids: Sequence[UUID]
    """The jobs that the action is possible for, up to the limit of the selection."""
    matched: int
    """All jobs that the action is possible for."""
    found: Sequence[UUID]
    """The ids of all of them, up to 100,000."""
    before: Sequence[BulkOutcome] = field(default=())
    """The jobs that the action was done to before."""
    refused: Sequence[BulkRefusal] = field(default=())
    """The jobs that the action is not possible for."""
    newest_id: UUID | None = None
    """The newest job that matched a filter."""

    def build_result(
        self,
        accounts: Sequence[AccountCredits],
        done: Sequence[BulkOutcome] = (),
        refused: Sequence[BulkRefusal] = (),
        *,
        is_dry_run: bool = False,
        requested: int | None = None,
    ) -> BulkResult:
        """Return the result of the call, with the jobs that were done or refused before it."""
        remaining = max(self.matched - len(self.ids), 0)
        return BulkResult(
            action=self.action,
            is_dry_run=is_dry_run,
            matched=self.matched,
            remaining=remaining,
            next_below=self.ids[-1] if remaining and self.ids else None,
            newest_id=self.newest_id,
            accounts=accounts,
            done=[*self.before, *done],
            refused=[*self.refused, *refused],
            requested=sum(one.is_request for one in done) if requested is None else requested,
        )


class JobChooser:
    """Finds the jobs of selections. Every method may raise `PostgresDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def choose(
        self, selection: JobSelection, action: BulkAction, *, again: bool = False
    ) -> JobChoice:
        """Return the jobs of the selection. Raises `StateConflict` for a contradicting filter."""
        advice = "give a `JobSelection`, such as `JobSelection(ids=[job.id])`"
        require_type("selection", selection, JobSelection, advice)
        if selection.where is None:
            return await self._choose_by_ids(selection, action, again=again)
        where = selection.narrow_filter(action, again=again)
        text = where.to_json(selection.below)
        matched = sum(row["jobs"] for row in await self._database.fetch("count_jobs", text))
        rows = await self._database.fetch("find_job_ids", text, selection.below, MAX_COSTED_JOBS)
        found = [UUID(int=row["id"].int) for row in rows]
        # Jobs may have come or gone between the two statements.
        return JobChoice(
            action,
            found[: selection.limit],
            max(matched, len(found)),
            found,
            newest_id=found[0] if found else None,
        )

    async def _choose_by_ids(
        self, selection: JobSelection, action: BulkAction, *, again: bool
    ) -> JobChoice:
        jobs = {job.id: job for job in await JobRepository(self._database).get_many(selection.ids)}
        done = await self._find_done(list(jobs.values()), action)
        possible: list[UUID] = []
        before: list[BulkOutcome] = []
        refused: list[BulkRefusal] = []
        for job_id in selection.ids:
            job = jobs.get(job_id)
            error: DarkroomError | None = None
            if job is None or selection.account_id not in {None, job.account_id}:
                error = JobNotFound(str(job_id))
            elif job_id in done:
                before.append(BulkOutcome(job_id, done[job_id], is_new=False))
                continue
            elif action == "retry":
                error = check_retry(job, again=again)
            elif job.is_terminal:
                error = TooLateToCancel(str(job_id), job.state.value)
            if error is None:
                possible.append(job_id)
            else:
                refused.append(BulkRefusal(job_id, error))
        return JobChoice(action, possible, len(possible), possible, before, refused)

    async def _find_done(self, jobs: Sequence[Job], action: BulkAction) -> Mapping[UUID, Job]:
        """Return the result of the action for each job that it was done to before."""
        if action == "cancel":
            return {
                job.id: job
                for job in jobs
                if job.state is JobState.CANCELLED or job.is_cancel_requested
            }
        rows = await self._database.fetch("find_retries", [job.id for job in jobs])
        return {job.retry_of: job for job in jobs_from_rows(rows) if job.retry_of is not None}

    async def estimate(self, choice: JobChoice) -> BulkResult:
        """Return what the action would do, without doing it."""
        rows = await self._database.fetch("cost_of_jobs", list(choice.found))
        accounts = [
            AccountCredits(
                row["account_id"],
                row["jobs"],
                row["credits_now" if choice.action == "retry" else "credits_released"],
                row["available"],
                row["jobs_without_price"] if choice.action == "retry" else 0,
            )
            for row in rows
        ]
        requested = sum(row["requested"] for row in rows) if choice.action == "cancel" else 0
        return choice.build_result(accounts, is_dry_run=True, requested=requested)
