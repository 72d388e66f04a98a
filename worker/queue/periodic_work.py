"""Runs work at an interval, once for all workers.

Each worker counts the interval by its monotonic clock. A key in Redis that expires decides which
worker runs. No date is compared, so a clock that is set has no effect. A worker that may not claim
runs nothing, because its Redis may not be the one of the other workers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import DependencyDown

LONGEST_CHECK_SECONDS = 10.0
"""How long at most a worker waits after its start, or after an outage, until it checks whether the
work is due."""
_TIMEOUT_SECONDS = 300.0
_SHARE_OF_INTERVAL = 0.9
_KEY_PREFIX = "darkroom:periodic:"


@dataclass(frozen=True, slots=True)
class PeriodicWork:
    """Work that one of the workers does at an interval."""

    name: str
    interval_seconds: float
    run: Callable[[], Awaitable[Any]]
    needed: asyncio.Event | None = None
    """Set while there is something to do. None where this is not known: it is always run."""
    idle_seconds: float = math.inf
    """How often it is run while there is nothing to do."""


class PeriodicRunner:
    """One worker that runs periodic work. Any number of workers may do so."""

    def __init__(
        self, redis: Redis, work: PeriodicWork, worker_name: str, may_claim: Callable[[], bool]
    ) -> None:
        self._redis = redis
        self._may_claim = may_claim
        self.work = work
        self._worker_name = worker_name
        # Shorter than the interval, so that the same worker may run the work again.
        self._lock_ms = int(work.interval_seconds * _SHARE_OF_INTERVAL * 1000)
        self._shortest_seconds = min(work.interval_seconds, LONGEST_CHECK_SECONDS)
        self._wait_seconds = self._shortest_seconds

    async def run_until_cancelled(self) -> None:
        """Run the work whenever it is due. Outlives outages and errors."""
        while True:
            await self._wait()
            self._wait_seconds = self._shortest_seconds
            try:
                await self.run_if_due()
            except DependencyDown as down:
                incidents.record_outage(down, doing=self.work.name)
            except Exception as error:
                incidents.record_failure(
                    "periodic_work_failed",
                    self.work.name,
                    repr(error),
                    level="error",
                    calm_seconds=2 * self.work.interval_seconds,
                    exc_info=True,
                )
            else:
                incidents.record_success("periodic_work_failed", self.work.name)
            stop_if_cancelled()

    async def _wait(self) -> None:
        """Wait for the interval, and then until there is something to do."""
        await asyncio.sleep(self._wait_seconds)
        needed, idle_seconds = self.work.needed, self.work.idle_seconds
        if needed is not None and not needed.is_set():
            with suppress(TimeoutError):
                left = None if idle_seconds == math.inf else idle_seconds - self._wait_seconds
                async with asyncio.timeout(left):
                    await needed.wait()

    async def run_if_due(self) -> bool:
        """Run the work if no worker has within the interval. Returns whether it was run.

        Does nothing while this worker may not claim. Raises `RedisDown`, and every error of the
        work.
        """
        if not self._may_claim():
            return False
        with translated_redis_errors():
            key, interval_seconds = _KEY_PREFIX + self.work.name, self.work.interval_seconds
            is_due = await self._redis.set(key, self._worker_name, nx=True, px=self._lock_ms)
            left_ms = 0 if is_due else max(await self._redis.pttl(key), 0)
        if is_due:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self.work.run()
        # The others take their turn where the worker that ran last does not run again.
        since_last_seconds = 0 if is_due else (self._lock_ms - left_ms) / 1000
        self._wait_seconds = interval_seconds - since_last_seconds
        return bool(is_due)
