"""Runs work at an interval, once for all workers together.

The interval is counted by each worker's monotonic clock, and whose turn it is by a key in Redis
that expires by Redis's clock. No date takes part, so a clock that is set stops nothing. A worker
that may not claim runs nothing: the key in its Redis says nothing about the other workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import DependencyDown

LONGEST_CHECK_SECONDS = 10.0
"""How long a worker waits at most before it asks again whether it is its turn."""
_TIMEOUT_SECONDS = 300.0
_SHARE_OF_INTERVAL = 0.9
_KEY_PREFIX = "darkroom:periodic:"


@dataclass(frozen=True, slots=True)
class PeriodicWork:
    """What is to be done at an interval, by one of the workers."""

    name: str
    interval_seconds: float
    run: Callable[[], Awaitable[Any]]


class PeriodicRunner:
    """One worker's share of some periodic work. Any number of workers share it."""

    def __init__(
        self, redis: Redis, work: PeriodicWork, worker_name: str, may_claim: Callable[[], bool]
    ) -> None:
        self._redis = redis
        self._may_claim = may_claim
        self.work = work
        self._worker_name = worker_name
        # Shorter than the interval, so that whoever had the last turn may have the next.
        self._lock_ms = int(work.interval_seconds * _SHARE_OF_INTERVAL * 1000)

    async def run_until_cancelled(self) -> None:
        """Run the work whenever it is this worker's turn; outlives outages and errors."""
        while True:
            await asyncio.sleep(min(self.work.interval_seconds, LONGEST_CHECK_SECONDS))
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

    async def run_if_due(self) -> bool:
        """Run the work if no worker has within the interval; return whether it was run.

        Does nothing while this worker may not claim. Raises `RedisDown`, and what the work raises.
        """
        if not self._may_claim():
            return False
        with translated_redis_errors():
            is_due = await self._redis.set(
                _KEY_PREFIX + self.work.name, self._worker_name, nx=True, px=self._lock_ms
            )
        if is_due:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self.work.run()
        return bool(is_due)
