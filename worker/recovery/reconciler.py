"""Makes sure that everything that should be moving moves, and that every unknown ends.

Postgres knows which jobs are open; Redis only delivers. Whatever Redis has lost (a flush, an
eviction, a crash between commit and delivery) is delivered again from here.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, Lane, lane_of
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain import job_events
from shared.errors import DatabaseRefused, RowBusy, StaleJob
from shared.redis_keys import WIPED_KEY
from worker.callbacks.callback_handler import CallbackHandler
from worker.dependencies import Dependencies
from worker.limits.throttle import POLL_WINDOW_MS, WINDOW_MARGIN_MS
from worker.recovery.open_jobs import (
    OpenJob,
    fetch_open_jobs_page,
    fetch_overdue_unknown,
    fetch_recent_open_jobs,
)
from worker.recovery.task_id_recovery import TaskIdRecovery
from worker.steps.job_end import report_job_end
from worker.webhooks.outbox import Outbox

log = structlog.get_logger(__name__)

EPOCH_KEY = "darkroom:epoch"
"""Present while Redis is the Redis that we have been filling; gone when it was wiped."""
PAGE_LENGTH = 2_000
RECONCILE_SECONDS = 5.0
_GRACE_SECONDS = 2.0
_FRESH_SECONDS = 60.0
_WIPE_ALERT_SECONDS = 3600


class Reconciler:
    """One worker's share of the reconciling; any number may run at once without harm."""

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
        """Whether this Redis was marked before: one that was never filled has lost nothing."""
        self.outbox = Outbox(
            deps.queries,
            deps.delivery_queue,
            on_found=deps.metrics.dispatch_pushes.record_found_without_push,
        )
        """The webhooks that should be on their way."""
        self.task_id_recovery = TaskIdRecovery(deps)
        """The task ids that workers kept while Postgres could not store them."""

    async def run_once(self) -> None:
        """Look once. Raises `PostgresDown` or `RedisDown`: the next look makes up for it.

        Does nothing while this worker may not claim: its Redis is not the shared one.
        """
        if not self._deps.may_claim():
            return
        # Before any unknown is given up: a worker may have kept its task id.
        await self.task_id_recovery.run_once()
        excluded: Collection[UUID] = ()
        # Before any unknown is given up: the evidence may lie in the inbox.
        if self._callbacks is not None and not await self._callbacks.sweep():
            excluded = await self._callbacks.jobs_with_unhandled_callbacks()
        await self.end_overdue_unknown(excluded)
        found = await self.deliver_recent(_GRACE_SECONDS)
        if found:
            self._deps.metrics.dispatch_pushes.record_found_without_push(found)
        if await self._redis_was_wiped():
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

    async def deliver_recent(self, grace_seconds: float) -> int:
        """Deliver what changed in the last minute and has no delivery; return how many.

        None while this worker may not claim.
        """
        if not self._deps.may_claim():
            return 0
        fresh = await fetch_recent_open_jobs(
            self._deps.queries, _FRESH_SECONDS, grace_seconds, self._page_length
        )
        return await self._redeliver(fresh)

    async def end_overdue_unknown(self, excluded: Collection[UUID] = ()) -> None:
        """End unknown submissions for which no evidence turned up within the limit.

        Those in `excluded` have a callback that Kie is still being asked about.
        """
        limit_seconds = self._deps.settings.unknown_limit_seconds
        event = job_events.SubmissionLost(
            f"no evidence of a task within {limit_seconds:g} s; the hold was released"
        )
        for job_id, attempt in await fetch_overdue_unknown(
            self._deps.queries, limit_seconds, self._page_length
        ):
            if job_id in excluded:
                continue
            try:
                job = await self._deps.store.lose_submission(job_id, attempt, event)
            except StaleJob:
                continue  # evidence came at the last moment
            except (RowBusy, DatabaseRefused) as error:
                # One job's row must not keep the reconciler from all the others.
                incidents.record_failure(
                    "unknown_not_ended", "reconcile", error, job_id=str(job_id)
                )
                continue
            incidents.record_success("unknown_not_ended", "reconcile")
            log.error("submission_lost", job_id=str(job_id), attempt=attempt)
            report_job_end(self._deps, job)

    async def _check_page(self) -> bool:
        """Check the next page of open jobs; return whether it was the last one."""
        length = self._page_length
        page = await fetch_open_jobs_page(self._deps.queries, self._last, _GRACE_SECONDS, length)
        await self._redeliver(page)
        is_last = len(page) < length
        self._last = None if is_last else page[-1]
        return is_last

    async def _redeliver(self, jobs: list[OpenJob]) -> int:
        deliveries = [delivery for job in jobs if (delivery := _delivery_of(job)) is not None]
        lacking = await self._deps.delivery_queue.find_missing(deliveries)
        if lacking:
            await self._deps.delivery_queue.deliver(lacking)
            for delivery in lacking:
                # What a caller's own transaction enqueued is told by nobody else.
                self._deps.publish_change(Change(delivery.job_id))
            self._deps.metrics.redelivered.inc(len(lacking))
            log.info("redelivered", jobs=len(lacking))
        return len(lacking)

    async def _redis_was_wiped(self) -> bool:
        with translated_redis_errors():
            if await self._deps.delivery_queue.redis.exists(EPOCH_KEY):
                self._has_seen_epoch = True
                return False
            return True

    async def _record_wipe(self) -> None:
        """Note the wipe for the alert, by Redis's own clock."""
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
    lane = lane_of(job.state)
    if lane is None:
        return None
    least_ms = 0
    if lane is Lane.POLL:
        # A Redis that has lost the delivery may have lost the throttle's log with it: what was
        # asked before counts for one window more.
        least_ms = POLL_WINDOW_MS + WINDOW_MARGIN_MS
    return Delivery(job.id, lane, max(int(job.due_in_seconds * 1000), least_ms))
