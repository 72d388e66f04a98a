"""Acts on stored callbacks: polls the task at once, or recovers a reply that was lost.

A callback is a hint: its code and its images are not read. For a known task it only makes the next
poll due now. For a submission whose outcome is unknown it proposes a task id, which is believed
when record-info shows that the task was made with the callback URL of this attempt: only Kie and
this system know its token. A task for which its job does not wait is stored as a late task, and its
images are stored without a charge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Queries
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.kie_outcomes import Pending, TaskFailed, TaskLookup
from shared.domain.lifecycle import JobState, Reason
from shared.errors import DependencyDown, StaleJob, TaskOfAnotherJob
from worker.dependencies import Dependencies
from worker.limits.account_concurrency import AccountConcurrency
from worker.limits.submit_gates import slots_per_account
from worker.limits.throttle import Throttled
from worker.recovery.late_task_checks import (
    LateTaskChecks,
    callback_url_has_token,
    examine_task,
)

log = structlog.get_logger(__name__)

MAX_CALLBACKS_AT_ONCE = 20
"""So many new callbacks are handled at once, and so many by the sweep."""
SWEEP_SECONDS = 2.0
SWEEP_WAIT_SECONDS = 2.0
"""How long the caller of `sweep` waits. What takes longer continues in the background."""
_PAGE_LENGTH = 500
_KIE_FAILURE_REASONS = frozenset({Reason.PROVIDER_FAILED, Reason.CONTENT_POLICY})
_LATE_TASK_OUTCOMES = {"delivered": "late_success", "refuted": "refuted"}


@dataclass(frozen=True, slots=True)
class StoredCallback:
    """A stored callback with the attempt of its token."""

    token: str = field(repr=False)
    task_id: str
    job_id: UUID
    number: int
    provider_account: str
    """The Kie account with which the attempt was sent."""
    route: str | None
    """The family by which the attempt was sent. None for that of the model."""
    outcome: str | None


def callback_from_row(row: asyncpg.Record) -> StoredCallback:
    """Return the callback of a row of `callback_by_id`."""
    return StoredCallback(
        token=row["token"],
        task_id=row["claimed_task_id"],
        job_id=UUID(int=row["job_id"].int),
        number=row["number"],
        provider_account=row["provider_account"],
        route=row["route"],
        outcome=row["outcome"],
    )


class _AccountConcurrencyReached(Exception):
    """Kie is queried about as many callbacks of this account as its limit allows. The callback
    stays unhandled.
    """


class CallbackHandler:
    """Handles new callbacks at once. The sweep handles those that are left."""

    def __init__(
        self,
        deps: Dependencies,
        queries: Queries,
        *,
        sweep_wait_seconds: float = SWEEP_WAIT_SECONDS,
    ) -> None:
        self._deps = deps
        self._queries = queries
        self._sweep_wait_seconds = sweep_wait_seconds
        self._late_tasks = LateTaskChecks(deps)
        self._slots = asyncio.Semaphore(MAX_CALLBACKS_AT_ONCE)
        self._sweep_slots = asyncio.Semaphore(MAX_CALLBACKS_AT_ONCE)
        self._concurrency = AccountConcurrency(
            slots_per_account(len(deps.accounts), MAX_CALLBACKS_AT_ONCE)
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.Task[None] | None = None

    def take(self, inbox_id: int) -> None:
        """Handle a callback that has just been stored, after its sender has the response."""
        task = asyncio.create_task(self._handle_safely(inbox_id, self._slots))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sweep(self) -> bool:
        """Handle what is still unhandled: early callbacks, and those of a crashed worker.

        Returns whether all of it was tried. A slow Kie does not delay the caller: after
        `sweep_wait_seconds` the sweep continues in the background, and the next call waits for the
        same sweep.
        """
        if self._sweep is None or self._sweep.done():
            rows = await self._queries.fetch("unhandled_callbacks", SWEEP_SECONDS, _PAGE_LENGTH)
            if not rows:
                return True
            self._sweep = asyncio.create_task(self._handle_all([row["id"] for row in rows]))
        done, _ = await asyncio.wait([self._sweep], timeout=self._sweep_wait_seconds)
        return bool(done)

    async def jobs_with_unhandled_callbacks(self) -> set[UUID]:
        """Return the jobs whose attempts have an unhandled callback."""
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
                pass  # logged once for the account; the sweep handles it later
            except (Throttled, StaleJob) as error:
                # It stays in the inbox, and the sweep handles it later.
                log.info("callback_put_off", inbox_id=inbox_id, error=str(error))
            except Exception:
                # A bug with one callback must not prevent the sweep of the others.
                log.exception("callback_failed", inbox_id=inbox_id)

    async def handle(self, inbox_id: int) -> None:
        """Act on one callback. One that cannot be decided yet stays in the inbox."""
        row = await self._queries.fetch_row("callback_by_id", inbox_id)
        if row is None:
            return
        callback = callback_from_row(row)
        job = await self._deps.store.load(callback.job_id)
        outcome = await self._decide(callback, job)
        if outcome is not None:
            await self._queries.fetch_row("judge_callback", inbox_id, outcome)

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
        except TaskOfAnotherJob as error:
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
        """Return whether Kie no longer reports that the task failed."""
        examination = await self._examine(callback, job)
        return not isinstance(examination.outcome, TaskFailed | Pending)

    async def _check_late(self, callback: StoredCallback, job: Job) -> str:
        """Store the late task, and its images where the job has ended and they exist."""
        await self._late_tasks.record_claimed_task(job.id, callback.number, callback.task_id)
        outcomes = await self._late_tasks.check_job(job.id)
        return _LATE_TASK_OUTCOMES.get(outcomes.get(callback.task_id) or "", "late")

    async def _examine(self, callback: StoredCallback, job: Job) -> TaskLookup:
        account = callback.provider_account or ""
        if self._concurrency.wait_before_start(account) > 0:
            raise _AccountConcurrencyReached
        with self._concurrency.counted(account):
            family_name = callback.route or job.model
            return await examine_task(self._deps, account, family_name, callback.task_id)
