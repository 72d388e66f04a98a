"""Delivers again what Redis has lost: chosen jobs, and jobs that are being generated.

Postgres stores which jobs are open; Redis only delivers. Jobs that wait have no delivery. A
delivery may be lost by a flush, an eviction, or a crash between the commit and the delivery.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog

from shared.adapters.postgres.database import Queries
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain.lifecycle import JobState
from shared.redis_keys import JOBS_WAIT, WAKE_UP_CHANNEL, WIPED_KEY
from worker.callbacks.callback_handler import CallbackHandler
from worker.dependencies import Dependencies
from worker.limits.throttle import POLL_WINDOW_MS, WINDOW_MARGIN_MS
from worker.recovery.taken_back_jobs import take_back_jobs
from worker.recovery.task_id_recovery import TaskIdRecovery
from worker.recovery.unknown_submissions import UnknownSubmissions
from worker.webhooks.outbox import Outbox

log = structlog.get_logger(__name__)

EPOCH_KEY = "darkroom:epoch"
"""Exists while Redis is the one that the workers have filled. It is missing after a wipe."""
PAGE_LENGTH = 2_000
RECONCILE_SECONDS = 5.0
_GRACE_SECONDS = 2.0
_FRESH_SECONDS = 60.0
_WIPE_ALERT_SECONDS = 3600


_BEFORE_ALL = ("", datetime.min.replace(tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class OpenJob:
    """The fields of an open job that its delivery needs."""

    id: UUID
    state: JobState
    due_at: datetime
    due_in_seconds: float
    """Seconds until `due_at` when it was read; below 0 where it is due."""


async def fetch_recent_open_jobs(
    queries: Queries, newest_seconds: float, grace_seconds: float, most: int
) -> list[OpenJob]:
    """Return the chosen jobs, and the generating ones that changed lately, without the newest."""
    chosen = await queries.fetch("chosen_jobs", grace_seconds, most)
    rows = await queries.fetch("fresh_open_jobs", newest_seconds, grace_seconds, most)
    return open_jobs_from([*chosen, *rows])


async def fetch_open_jobs_page(
    queries: Queries, last: OpenJob | None, grace_seconds: float, most: int
) -> list[OpenJob]:
    """Return the page of open jobs after the last one of a page; None: the first page."""
    cursor = (last.state.value, last.due_at, last.id) if last else _BEFORE_ALL
    rows = await queries.fetch("open_jobs_after", *cursor, most, grace_seconds)
    return open_jobs_from(rows)


def open_jobs_from(rows: Iterable[asyncpg.Record]) -> list[OpenJob]:
    """Return the open jobs of these rows."""
    return [
        OpenJob(
            UUID(int=row["id"].int),
            JobState(row["state"]),
            row["due_at"],
            row["due_in_seconds"],
        )
        for row in rows
    ]


class Reconciler:
    """The reconciler of one worker. Any number of workers may run at once."""

    def __init__(
        self,
        deps: Dependencies,
        *,
        page_length: int = PAGE_LENGTH,
        callbacks: CallbackHandler | None = None,
    ) -> None:
        self._deps = deps
        self._callbacks = callbacks
        self._page_length = page_length
        self._last: OpenJob | None = None
        self._has_seen_epoch = False
        """Whether this Redis had the key before. A Redis that was never filled has lost nothing."""
        self.outbox = Outbox(
            deps.queries,
            deps.delivery_queue,
            on_found=deps.metrics.dispatch_pushes.record_found_without_push,
        )
        """Delivers webhook messages that Redis has lost."""
        self.unknown_submissions = UnknownSubmissions(deps, page_length)
        self.task_id_recovery = TaskIdRecovery(deps)
        """Stores task ids that workers backed up while Postgres was down."""

    @property
    def queries(self) -> Queries:
        """The queries of its worker."""
        return self._deps.queries

    async def run_once(self) -> None:
        """Reconcile once. Raises `PostgresDown` or `RedisDown`; the next run makes up for it.

        Does nothing while this worker may not claim, because its Redis is not the shared one.
        """
        if not self._deps.may_claim():
            return
        # Before any unknown submission ends: its task id may be backed up.
        await self.task_id_recovery.run_once()
        excluded: Collection[UUID] = ()
        # Before any unknown submission ends: its callback may be in the inbox.
        if self._callbacks is not None and not await self._callbacks.sweep():
            excluded = await self._callbacks.jobs_with_unhandled_callbacks()
        await self.unknown_submissions.end_overdue(excluded)
        await self.take_back()
        found = await self.deliver_recent(_GRACE_SECONDS)
        if found:
            self._deps.metrics.dispatch_pushes.record_found_without_push(found)
        if await self.redis_was_wiped():
            log.warning("redis_is_empty", meaning="every open job is delivered again")
            if self._has_seen_epoch:
                await self._record_wipe()
            self._last = None
            while not await self._check_page():
                pass
            await self.outbox.check_all()
            await self._write_epoch()
        else:
            await self._check_page()
            await self.outbox.check_page()

    async def take_back(self) -> None:
        """Take back the chosen jobs that are paused, and tell the workers where others wait."""
        await take_back_jobs(self._deps)
        row = await self._deps.queries.fetch_row("jobs_wait")
        if row is not None and row["jobs_wait"]:
            self.choose_now()
            with translated_redis_errors():
                await self._deps.delivery_queue.redis.publish(WAKE_UP_CHANNEL, JOBS_WAIT)

    def choose_now(self) -> None:
        """Have this worker choose among the jobs that wait."""
        self._deps.jobs_wait.set()

    async def deliver_recent(self, grace_seconds: float) -> int:
        """Deliver the chosen jobs, and the generating ones that changed lately, without a delivery.

        Returns how many, and 0 while this worker may not claim.
        """
        if not self._deps.may_claim():
            return 0
        fresh = await fetch_recent_open_jobs(
            self._deps.queries, _FRESH_SECONDS, grace_seconds, self._page_length
        )
        return await self.redeliver(fresh)

    async def _check_page(self) -> bool:
        """Check the next page of open jobs. Returns whether it was the last one."""
        length = self._page_length
        page = await fetch_open_jobs_page(self._deps.queries, self._last, _GRACE_SECONDS, length)
        await self.redeliver(page)
        is_last = len(page) < length
        self._last = None if is_last else page[-1]
        return is_last

    async def redeliver(self, jobs: Sequence[OpenJob]) -> int:
        """Deliver those of these jobs that need a delivery and have none. Returns how many."""
        deliveries = [delivery for job in jobs if (delivery := _delivery_of(job)) is not None]
        lacking = await self._deps.delivery_queue.find_missing(deliveries)
        if lacking:
            await self._deps.delivery_queue.deliver(lacking)
            for delivery in lacking:
                # No other process publishes what was enqueued in a caller's own transaction.
                self._deps.publish_change(Change(delivery.job_id))
            self._deps.metrics.redelivered.inc(len(lacking))
            log.info("redelivered", jobs=len(lacking))
        return len(lacking)

    async def redis_was_wiped(self) -> bool:
        """Return whether Redis is not the one that the workers have filled. Raises `RedisDown`."""
        with translated_redis_errors():
            if await self._deps.delivery_queue.redis.exists(EPOCH_KEY):
                self._has_seen_epoch = True
                return False
            return True

    async def _record_wipe(self) -> None:
        """Record the wipe for the alert, by Redis's own clock."""
        redis = self._deps.delivery_queue.redis
        with translated_redis_errors():
            seconds, microseconds = await redis.time()
            at_ms = seconds * 1000 + microseconds // 1000
            await redis.set(WIPED_KEY, at_ms, ex=_WIPE_ALERT_SECONDS, nx=True)

    async def _write_epoch(self) -> None:
        with translated_redis_errors():
            await self._deps.delivery_queue.redis.set(EPOCH_KEY, self._deps.worker_name)
        self._has_seen_epoch = True


def _delivery_of(job: OpenJob) -> Delivery | None:
    lane = _lane_of(job.state)
    if lane is None:
        return None
    least_ms = 0
    if lane is Lane.POLL:
        # A Redis that has lost the delivery may have lost the log of the throttle too. Earlier
        # polls count for one window more.
        least_ms = POLL_WINDOW_MS + WINDOW_MARGIN_MS
    return Delivery(job.id, lane, max(int(job.due_in_seconds * 1000), least_ms))


def _lane_of(state: JobState) -> Lane | None:
    """Return the lane in which a job in this state must have a delivery, or None."""
    if state in {JobState.QUEUED, JobState.SUBMITTING}:
        return Lane.SUBMIT
    return Lane.POLL if state is JobState.GENERATING else None
