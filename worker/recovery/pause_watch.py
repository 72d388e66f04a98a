"""Reads the pauses that people set, and moves deliveries out of the queue and back.

A paused job has no delivery, so it costs no claim while it waits. When a pause starts, the
deliveries of its jobs are removed. A delivery that is added meanwhile is removed by its run. When
the pause ends, the jobs are delivered again, each due as before, so in the same order.

Postgres notifies each worker of every change. A notification may be lost, a worker may die between
two steps, and a run may remove a delivery just after the end of its pause. So the pauses are read
every few seconds, and the jobs of a pause are checked for a while after its end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.deliveries import DELIVERIES_PER_SCRIPT, Lane
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import DependencyDown
from worker.dependencies import Dependencies
from worker.queue.leased_worker import withdraw_deliveries
from worker.recovery.reconciler import OpenJob, Reconciler, open_jobs_from

log = structlog.get_logger(__name__)

READ_SECONDS = 5.0
"""How often the pauses are read without a notification."""
CHECKED_AFTER_END_SECONDS = 30.0
"""How long after the end of a pause its jobs are checked for a delivery."""
_CHECK_LOCK_MS = 4_000
"""One worker checks the jobs of a pause within this time."""
_CHECK_KEY_PREFIX = "darkroom:pause_end:"
_AFTER_UNTIL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Pause:
    id: int
    scope: str
    value: str | None
    is_active: bool
    ends_in_seconds: float | None

    @property
    def has_jobs(self) -> bool:
        """Whether it applies to jobs, and not to a Kie account."""
        return self.scope != "kie_account"


class PauseWatch:
    """The watch of one worker. Any number of workers may run at once."""

    def __init__(
        self, deps: Dependencies, reconciler: Reconciler, *, read_seconds: float = READ_SECONDS
    ) -> None:
        self._deps = deps
        self._reconciler = reconciler
        self._read_seconds = read_seconds
        self._active: dict[int, _Pause] = {}

    async def run_until_cancelled(self) -> None:
        """Read the pauses when requested, when one ends, and at intervals. Outlives outages."""
        requested = self._deps.pauses.read_requested
        while True:
            requested.clear()
            wait_seconds = self._read_seconds
            try:
                wait_seconds = await self.read()
            except DependencyDown as down:
                incidents.record_outage(down, doing="read_pauses")
            stop_if_cancelled()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await requested.wait()

    async def read(self) -> float:
        """Read the pauses and act on what has changed. Returns the seconds until the next read.

        Raises `PostgresDown` and `RedisDown`; the next read makes up for it.
        """
        rows = await self._deps.queries.fetch("watch_pauses", CHECKED_AFTER_END_SECONDS)
        pauses = [_Pause(**dict(row)) for row in rows]
        active = {pause.id: pause for pause in pauses if pause.is_active}
        self._deps.pauses.replace(
            is_everything_paused=any(one.scope == "everything" for one in active.values()),
            kie_accounts=[
                one.value for one in active.values() if one.scope == "kie_account" and one.value
            ],
        )
        started = [one for one in active.values() if one.id not in self._active]
        ended = {one.id: one for one in pauses if not one.is_active}
        ended |= {id: one for id, one in self._active.items() if id not in active}
        if self._deps.may_claim():
            for pause in ended.values():
                if pause.has_jobs:
                    await self._deliver_jobs_of(pause)
                self._active.pop(pause.id, None)
            for pause in started:
                await self._withdraw_jobs_of(pause)
                self._active[pause.id] = pause
        ends = [one.ends_in_seconds for one in active.values() if one.ends_in_seconds is not None]
        return min([self._read_seconds, *(max(end, 0) + _AFTER_UNTIL_SECONDS for end in ends)])

    async def _withdraw_jobs_of(self, pause: _Pause) -> None:
        """Remove the deliveries of the jobs that it pauses.

        While everything is paused, no delivery is claimed, and all of them stay.
        """
        if pause.scope in {"everything", "kie_account"}:
            return
        removed, last = 0, None
        while page := await self._read_page(pause, last):
            ids = [job.id for job in page if job.is_paused]
            removed += await withdraw_deliveries(self._deps.scripts, Lane.SUBMIT, ids)
            last = page[-1]
        log.info("jobs_paused", pause=pause.id, scope=pause.scope, value=pause.value, jobs=removed)

    async def _deliver_jobs_of(self, pause: _Pause) -> None:
        """Deliver the jobs of a pause that has ended. One worker does so at a time."""
        redis = self._deps.delivery_queue.redis
        with translated_redis_errors():
            key = f"{_CHECK_KEY_PREFIX}{pause.id}"
            if not await redis.set(key, self._deps.worker_name, nx=True, px=_CHECK_LOCK_MS):
                return
        delivered, last = 0, None
        while page := await self._read_page(pause, last):
            delivered += await self._reconciler.redeliver(page)
            last = page[-1]
        if delivered:
            log.info(
                "jobs_resumed", pause=pause.id, scope=pause.scope, value=pause.value, jobs=delivered
            )

    async def _read_page(self, pause: _Pause, last: OpenJob | None) -> list[OpenJob]:
        due_at = last.due_at if last else datetime.min.replace(tzinfo=UTC)
        after = last.id if last else UUID(int=0)
        rows: list[asyncpg.Record] = await self._deps.queries.fetch(
            "queued_jobs_of_pause", pause.id, due_at, after, DELIVERIES_PER_SCRIPT
        )
        return open_jobs_from(rows)
