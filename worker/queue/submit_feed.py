"""Chooses waiting jobs in fair order and delivers them, as many as can be submitted soon.

What waits, waits in Postgres. Each worker asks for jobs when its submit lane has room. Postgres
chooses, one worker at a time, and stores what it has chosen. So workers need no leader. A worker
that dies between the choice and the delivery loses nothing: the reconciler delivers it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.errors import DependencyDown
from worker.dependencies import Dependencies

LOOK_AHEAD_SECONDS = 0.25
"""Chosen jobs last for this long at the present rate, or at the limit of Kie if that is lower. A
job that comes later waits for them."""
LEAST_AHEAD = 1
"""The fewest chosen jobs that are ready, so that a permit that becomes free is used at once."""
MOST_AT_ONCE = 64
"""The most jobs that one statement chooses."""
_ORDER_STEP_MS = 0.001
"""Between two deliveries of one choice, so that they are claimed in its order."""
_AFTER_OUTAGE_SECONDS = 1.0
_AFTER_BUSY_SECONDS = 0.5
"""How long after another worker was choosing this one tries again, where nothing else makes it."""
_LEAST_WAIT_SECONDS = 0.02


def _wake_nothing() -> None:
    """Do nothing: no lane uses this feed."""


class SubmitFeed:
    """The feed of the submit lane of one worker. Any number of workers may run at once."""

    def __init__(
        self,
        deps: Dependencies,
        braked_families: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._deps = deps
        self._braked_families = braked_families
        self.wake_lane: Callable[[], None] = _wake_nothing
        """Has the lane claim now. Set by whoever builds the lane."""
        self._jobs_may_wait = True
        self._has_found_room = False
        self._free = 0
        self._ready = 0
        self._recent = 0.0
        self._counted_at = deps.clock.monotonic()
        limit = deps.submit_throttle.limit
        # After a burst up to the limit of Kie, no more follow at that rate.
        self._most_ahead = (
            limit.requests * len(deps.accounts) * LOOK_AHEAD_SECONDS * 1000 / limit.window_ms
            if limit.requests
            else math.inf
        )

    def record_claim(self, claimed: int, free: int, ready: int) -> None:
        """Record a claim of the lane: what it took, how many more it could have taken at once, and
        how many deliveries of other workers are due.
        """
        now = self._deps.clock.monotonic()
        decay = math.exp((self._counted_at - now) / LOOK_AHEAD_SECONDS)
        self._counted_at = now
        # At a steady rate this is the number of jobs of the time to look ahead.
        self._recent = self._recent * decay + claimed
        self._free, self._ready = free, ready
        if self._jobs_may_wait and self._places() > 0:
            self._has_found_room = True
            self._deps.jobs_wait.set()

    def _places(self) -> int:
        """Return how many jobs to choose now."""
        ahead = max(LEAST_AHEAD, math.ceil(min(self._recent, self._most_ahead)))
        places = self._free + ahead - self._ready
        return places if self._free > self._ready or places > ahead // 2 else 0

    async def run_until_cancelled(self) -> None:
        """Choose whenever the lane has room and jobs may wait. Outlives outages."""
        again_seconds: float | None = None
        while True:
            await self._wait(again_seconds)
            again_seconds = None
            if not self._has_found_room:
                # What an earlier claim found may have been used up since.
                self.wake_lane()
                continue
            places = self._places()
            if places <= 0 or not self._deps.may_claim():
                continue  # the next claim that finds room goes on
            self._has_found_room = False
            try:
                again_seconds = await self.fill(places)
            except DependencyDown as down:
                incidents.record_outage(down, doing="choose_jobs")
                again_seconds = _AFTER_OUTAGE_SECONDS
            stop_if_cancelled()

    async def _wait(self, again_seconds: float | None) -> None:
        """Return when jobs may wait and the lane has room, or after that time."""
        told = self._deps.jobs_wait
        timeout = None if again_seconds is None else max(again_seconds, _LEAST_WAIT_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await told.wait()
        told.clear()
        self._jobs_may_wait = True

    async def fill(self, places: int) -> float | None:
        """Choose up to that many jobs, and deliver them. Returns after how many seconds to try
        again although nothing is told; None for never.

        Raises `PostgresDown` and `RedisDown`. What was chosen and not delivered is delivered by the
        reconciler.
        """
        [row] = await self._deps.queries.fetch(
            "choose_jobs", min(places, MOST_AT_ONCE), list(self._braked_families())
        )
        chosen = [UUID(int=one.int) for one in row["chosen"]]
        if chosen:
            self._deps.check_crash_point("after_choose")
            await self._deps.delivery_queue.deliver(
                [
                    Delivery(job_id, Lane.SUBMIT, place * _ORDER_STEP_MS)
                    for place, job_id in enumerate(chosen)
                ]
            )
            self._ready += len(chosen)
            self._deps.metrics.chosen.inc(len(chosen))
        again: float | None = row["again_seconds"]
        self._jobs_may_wait = row["is_busy"] or again == 0
        if row["is_busy"]:
            # The lane may be idle, and make no claim that goes on.
            again = _AFTER_BUSY_SECONDS
        # With room left, the next claim says whether more are needed.
        return None if again == 0 else again
