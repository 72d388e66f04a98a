"""Acts on stored callbacks: hastens a poll, or recovers a reply that was lost.

A callback is a hint. For a task that we know, it only makes the next poll due now. For a submit
whose outcome is unknown it offers a task id, which is believed when record-info itself shows that
the task was made with this attempt's callback URL: nobody but Kie and us knows its token. A task
that its job does not wait for is noted, and its images are kept without a charge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Queries
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.catalog import get_family
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.kie_outcomes import Pending, TaskFailed, TaskLookup
from shared.domain.lifecycle import JobState, Reason
from shared.errors import DatabaseRefused, DependencyDown, StaleJob
from worker.callbacks.stored_callback import StoredCallback, callback_from_row
from worker.dependencies import Dependencies
from worker.limits.account_concurrency import AccountConcurrency
from worker.limits.submit_gates import slots_per_account
from worker.limits.throttle import Throttled
from worker.recovery.late_task_checks import LateTaskChecks, callback_url_has_token
from worker.store.job_store import ONE_JOB_PER_TASK

log = structlog.get_logger(__name__)

MAX_CALLBACKS_AT_ONCE = 20
"""As many callbacks that have just come are handled at once, and as many by the sweep."""
SWEEP_SECONDS = 2.0
SWEEP_WAIT_SECONDS = 2.0
"""How long whoever sweeps waits for it; what takes longer goes on by itself."""
_PAGE_LENGTH = 500
_KIE_FAILURE_REASONS = frozenset({Reason.PROVIDER_FAILED, Reason.CONTENT_POLICY})
_LATE_TASK_OUTCOMES = {"delivered": "late_success", "refuted": "refuted"}


class _AccountConcurrencyReached(Exception):
    """This Kie account has its share of the questions under way; the callback stays unhandled."""


class CallbackHandler:
    """Handles callbacks at once where it can; the sweep makes up for what it could not."""

    def __init__(self, deps: Dependencies, queries: Queries) -> None:
        self._deps = deps
        self._queries = queries
        self._late_tasks = LateTaskChecks(deps)
        self._slots = asyncio.Semaphore(MAX_CALLBACKS_AT_ONCE)
        self._sweep_slots = asyncio.Semaphore(MAX_CALLBACKS_AT_ONCE)
        self._concurrency = AccountConcurrency(
            slots_per_account(len(deps.accounts), MAX_CALLBACKS_AT_ONCE)
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.Task[None] | None = None

    def take(self, inbox_id: int) -> None:
        """Handle a callback that has just been stored, after its sender has been answered."""
        task = asyncio.create_task(self._handle_safely(inbox_id, self._slots))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sweep(self) -> bool:
        """Handle what is still unhandled: early callbacks, and those of a crashed worker.

        Returns whether all of it was tried. A Kie that answers slowly keeps nobody: after two
        seconds the sweep goes on by itself, and the next call waits for the same one.
        """
        if self._sweep is None or self._sweep.done():
            rows = await self._queries.fetch("unhandled_callbacks", SWEEP_SECONDS, _PAGE_LENGTH)
            if not rows:
                return True
            self._sweep = asyncio.create_task(self._handle_all([row["id"] for row in rows]))
        done, _ = await asyncio.wait([self._sweep], timeout=SWEEP_WAIT_SECONDS)
        return bool(done)

    async def jobs_with_unhandled_callbacks(self) -> set[UUID]:
        """Return the jobs for whose attempts a callback is still unhandled."""
        rows = await self._queries.fetch("jobs_with_unhandled_callbacks")
        return {UUID(int=row["job_id"].int) for row in rows}

    async def _handle_all(self, inbox_ids: Sequence[int]) -> None:
        await asyncio.gather(*(self._handle_safely(one, self._sweep_slots) for one in inbox_ids))

    async def _handle_safely(self, inbox_id: int, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                await self.handle(inbox_id)
            except DependencyDown as error:
                incidents.record_outage(error, doing="handle_callback")
            except _AccountConcurrencyReached:
                pass  # said once for the account; the sweep comes back to it
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
        callback = callback_from_row(row)
        job = await self._deps.store.load(callback.job_id)
        verdict = await self._decide(callback, job)
        if verdict is not None:
            await self._queries.fetch_row("judge_callback", inbox_id, verdict)

    async def _decide(self, callback: StoredCallback, job: Job) -> str | None:
        is_newest = callback.number == job.attempt
        match job.state:
            case JobState.GENERATING if is_newest and job.provider_task_id == callback.task_id:
                await self._deps.delivery_queue.make_due_now(job.id, Lane.POLL)
                return "hastened"
            case JobState.SUBMITTING if is_newest:
                return None  # early: the reply to the POST is still on its way
            case JobState.UNKNOWN if is_newest:
                return await self._recover(callback, job)
            case JobState.SUCCEEDED if job.provider_task_id == callback.task_id:
                return "late"
            case JobState.FAILED if job.reason in _KIE_FAILURE_REASONS:
                if not await self._may_have_delivered(callback, job):
                    return "late"
        return await self._check_late(callback, job)

    async def _recover(self, callback: StoredCallback, job: Job) -> str | None:
        examination = await self._examine(callback, job)
        is_ours = callback_url_has_token(callback.token, examination)
        if is_ours is None:
            return None
        if not is_ours:
            log.warning("callback_refuted", job_id=str(job.id), claimed_task_id=callback.task_id)
            return "refuted"
        event = job_events.Submitted(callback.task_id, self._deps.settings.job_deadline_seconds)
        try:
            recovered = await self._deps.store.record_submitted(job, event)
        except DatabaseRefused as error:
            if error.constraint != ONE_JOB_PER_TASK:
                raise
            # Another job has this task: one of the two was told so by mistake.
            log.error(
                "task_of_another_job",
                job_id=str(job.id),
                attempt=callback.number,
                account=callback.provider_account,
                provider_task_id=callback.task_id,
                error=str(error),
            )
            return "refuted"
        self._deps.publish_change(Change(job.id))
        self._deps.metrics.count_submitted(recovered)
        log.info("submission_recovered", job_id=str(job.id), provider_task_id=callback.task_id)
        await self._deps.delivery_queue.deliver([Delivery(job.id, Lane.POLL)])
        return "confirmed"

    async def _may_have_delivered(self, callback: StoredCallback, job: Job) -> bool:
        """Return whether Kie no longer says that the task failed."""
        examination = await self._examine(callback, job)
        return not isinstance(examination.outcome, TaskFailed | Pending)

    async def _check_late(self, callback: StoredCallback, job: Job) -> str:
        """Note the task, and keep its images if the job has ended and they are there."""
        await self._late_tasks.record_claimed_task(job.id, callback.number, callback.task_id)
        outcomes = await self._late_tasks.check_job(job.id)
        return _LATE_TASK_OUTCOMES.get(outcomes.get(callback.task_id) or "", "late")

    async def _examine(self, callback: StoredCallback, job: Job) -> TaskLookup:
        account = callback.provider_account or ""
        if self._concurrency.wait_before_start(account) > 0:
            raise _AccountConcurrencyReached
        with self._concurrency.counted(account):
            async with self._deps.poll_throttle.permit(callback.task_id):
                kie = self._deps.accounts.client_of(callback.provider_account)
                return await kie.examine(get_family(job.model), callback.task_id)
