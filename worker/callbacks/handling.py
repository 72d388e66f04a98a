"""Acts on stored callbacks: hastens a poll, or recovers a reply that was lost.

A callback is a hint. For a task that we know, it only makes the next poll due now. For a submit
whose outcome is unknown it offers a task id, which is believed when record-info itself shows that
the task was made with this attempt's callback URL: nobody but Kie and us knows its token. A task
that its job does not wait for is noted, and its images are kept without a charge.
"""

from __future__ import annotations

import asyncio

import structlog

from shared.adapters.delivery import Lane, Parcel
from shared.adapters.failure_log import failures
from shared.adapters.news import Change
from shared.adapters.postgres import Queries
from shared.catalog import family
from shared.domain import events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason
from shared.domain.verdicts import Examination, Pending, TaskFailed
from shared.errors import DatabaseRefused, DependencyDown, StaleJob
from worker.callbacks.claims import Claim, claim_from_row
from worker.deps import Deps
from worker.job_store import ONE_JOB_PER_TASK
from worker.late_tasks import LateTasks, was_made_by
from worker.throttle import Throttled

log = structlog.get_logger(__name__)

AT_ONCE = 20
SWEEP_SECONDS = 2.0
_PAGE_LENGTH = 500
_KIES_VERDICTS = frozenset({Reason.PROVIDER_FAILED, Reason.CONTENT_POLICY})
_VERDICT_ON_LATE = {"delivered": "late_success", "refuted": "refuted"}


class CallbackDesk:
    """Handles callbacks at once where it can; the sweep makes up for what it could not."""

    def __init__(self, deps: Deps, queries: Queries) -> None:
        self._deps = deps
        self._queries = queries
        self._late_tasks = LateTasks(deps)
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
            case JobState.SUCCEEDED if job.provider_task_id == claim.task_id:
                return "late"
            case JobState.FAILED if job.reason in _KIES_VERDICTS:
                if not await self._may_have_delivered(claim, job):
                    return "late"
        return await self._check_late(claim, job)

    async def _recover(self, claim: Claim, job: Job) -> str | None:
        examination = await self._examine(claim, job)
        is_ours = was_made_by(claim.token, examination)
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
        await self._deps.delivery.deliver([Parcel(job.id, Lane.POLL)])
        return "confirmed"

    async def _may_have_delivered(self, claim: Claim, job: Job) -> bool:
        """Return whether Kie no longer says that the task failed."""
        examination = await self._examine(claim, job)
        return not isinstance(examination.verdict, TaskFailed | Pending)

    async def _check_late(self, claim: Claim, job: Job) -> str:
        """Note the task, and keep its images if the job has ended and they are there."""
        await self._late_tasks.note(job.id, claim.number, claim.task_id)
        outcomes = await self._late_tasks.check_job(job.id)
        return _VERDICT_ON_LATE.get(outcomes.get(claim.task_id) or "", "late")

    async def _examine(self, claim: Claim, job: Job) -> Examination:
        async with self._deps.polls.slot(claim.task_id):
            kie = self._deps.accounts.kie_of(claim.provider_account)
            return await kie.examine(family(job.model), claim.task_id)
