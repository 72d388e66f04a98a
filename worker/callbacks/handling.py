"""Acts on stored callbacks: hastens a poll, or recovers a reply that was lost.

A callback is a hint. For a task that we know, it only makes the next poll due now. For a submit
whose outcome is unknown it offers a task id, which is believed when record-info itself shows that
the task was made with this attempt's callback URL: nobody but Kie and us knows its token.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from shared.adapters.delivery import Lane, Parcel, now_ms
from shared.adapters.failure_log import failures
from shared.adapters.news import Change
from shared.adapters.postgres import Queries
from shared.catalog import family
from shared.domain import events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.domain.verdicts import Delivered, Examination, NoVerdict, Unreadable
from shared.errors import DatabaseRefused, DependencyDown, StaleJob
from worker.callbacks.claims import Claim, claim_from_row
from worker.deps import Deps
from worker.job_store import ONE_JOB_PER_TASK
from worker.throttle import Throttled

log = structlog.get_logger(__name__)

AT_ONCE = 20
SWEEP_SECONDS = 2.0
_PAGE_LENGTH = 500


class CallbackDesk:
    """Handles callbacks at once where it can; the sweep makes up for what it could not."""

    def __init__(self, deps: Deps, queries: Queries) -> None:
        self._deps = deps
        self._queries = queries
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, inbox_id: int) -> None:
        """Handle a callback that has just been stored, after its sender has been answered."""
        task = asyncio.create_task(self._handle_safely(inbox_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sweep(self) -> None:
        """Handle what is still unhandled: early callbacks, and those of a crashed worker."""
        rows = await self._queries.fetch("unhandled_callbacks", SWEEP_SECONDS, _PAGE_LENGTH)
        for row in rows:
            await self._handle_safely(row["id"])

    async def _handle_safely(self, inbox_id: int) -> None:
        async with self._slots:
            try:
                await self.handle(inbox_id)
            except DependencyDown as error:
                failures.down(error, doing="handle_callback")
            except (Throttled, StaleJob) as error:
                # It stays in the inbox; the sweep comes back to it.
                log.info("callback_put_off", inbox_id=inbox_id, error=str(error))
            except Exception:
                # A bug of ours: one callback must never keep the sweep from the others.
                log.exception("callback_failed", inbox_id=inbox_id)

    async def handle(self, inbox_id: int) -> None:
        """Act on one callback; what cannot be judged yet stays in the inbox."""
        row = await self._queries.fetch_row("callback_by_id", inbox_id)
        if row is None:
            return
        claim = claim_from_row(row)
        job = await self._deps.store.load(claim.job_id)
        verdict = await self._judge(claim, job)
        if verdict is not None:
            await self._queries.fetch_row("judge_callback", inbox_id, verdict)

    async def _judge(self, claim: Claim, job: Job) -> str | None:
        is_newest = claim.number == job.attempt
        match job.state:
            case JobState.GENERATING if is_newest and job.provider_task_id == claim.task_id:
                await self._deps.delivery.hasten(job.id, Lane.POLL)
                return "hastened"
            case JobState.SUBMITTING if is_newest:
                return None  # early: the reply to the POST is still on its way
            case JobState.UNKNOWN if is_newest:
                return await self._recover(claim, job)
            case JobState.FAILED if claim.outcome == "lost":
                return await self._keep_late_success(claim, job)
            case JobState.GENERATING | JobState.QUEUED:
                return "refuted"
        return "late"

    async def _recover(self, claim: Claim, job: Job) -> str | None:
        examination = await self._examine(claim, job)
        is_ours = self._is_ours(claim, examination)
        if is_ours is None:
            return None
        if not is_ours:
            log.warning("callback_refuted", job_id=str(job.id), claimed_task_id=claim.task_id)
            return "refuted"
        event = events.Submitted(claim.task_id, self._deps.settings.job_deadline_seconds)
        try:
            recovered = await self._deps.store.record_submitted(job, event)
        except DatabaseRefused as error:
            if error.constraint != ONE_JOB_PER_TASK:
                raise
            # Another job has this task: one of the two was told so by mistake.
            log.error(
                "task_of_another_job",
                job_id=str(job.id),
                attempt=claim.number,
                account=claim.provider_account,
                provider_task_id=claim.task_id,
                error=str(error),
            )
            return "refuted"
        self._deps.announce(Change(job.id))
        self._deps.metrics.count_submitted(recovered)
        log.info("submission_recovered", job_id=str(job.id), provider_task_id=claim.task_id)
        await self._deps.delivery.deliver([Parcel(job.id, Lane.POLL, now_ms())])
        return "confirmed"

    async def _keep_late_success(self, claim: Claim, job: Job) -> str | None:
        examination = await self._examine(claim, job)
        is_ours = self._is_ours(claim, examination)
        if is_ours is None:
            # The job has ended either way: a record that Kie has shown has no more to tell.
            is_open = isinstance(examination.verdict, NoVerdict | Unreadable)
            return None if is_open else "late"
        if is_ours and isinstance(examination.verdict, Unreadable):
            return None  # it stays in the inbox, for people to see
        if not is_ours or not isinstance(examination.verdict, Delivered):
            return "late" if is_ours else "refuted"
        await self._record_late(job.id, claim, examination.verdict)
        return "late_success"

    async def _record_late(self, job_id: UUID, claim: Claim, delivered: Delivered) -> None:
        await self._queries.fetch_row(
            "record_late_success",
            job_id,
            claim.number,
            claim.task_id,
            list(delivered.result_urls),
            "late_success",
        )
        self._deps.announce(Change(job_id))
        log.error(
            "late_success",
            job_id=str(job_id),
            meaning="Kie was paid for images whose job had been given up; nobody was charged",
        )

    async def _examine(self, claim: Claim, job: Job) -> Examination:
        async with self._deps.polls.slot(claim.task_id):
            kie = self._deps.accounts.kie_of(claim.provider_account)
            return await kie.examine(family(job.model), claim.task_id)

    @staticmethod
    def _is_ours(claim: Claim, examination: Examination) -> bool | None:
        """Whether Kie confirms that the task was made by this attempt; None: it cannot be said."""
        if examination.callback_url is None:
            return None
        return examination.callback_url.rstrip("/").endswith(f"/callbacks/kie/{claim.token}")
