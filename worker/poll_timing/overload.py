"""Polls less often while this process is overloaded.

The time that this saves goes to the jobs that wait. The lag factor multiplies the lag that one poll
may save in the plans. At its highest, tasks still settle about as soon as with the intervals that
Kie recommends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from shared.adapters.async_tasks import stop_tasks
from worker.poll_timing import PollPlanner

LAG_FACTORS = (1.0, 1.6, 2.5)
"""The lag factors, from no load to overload."""
OVERLOADED_FROM = 0.8
RELAXED_BELOW = 0.6
"""Shares of one core. One level saves less than the difference of the two, so it is not taken back
at once."""
INTERVAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class CpuClocks:
    """The clocks that measure how busy this process is."""

    cpu_seconds: Callable[[], float] = time.process_time
    monotonic: Callable[[], float] = time.monotonic


class OverloadControl:
    """Measures how busy this worker is, and sets the lag factor of its planner."""

    def __init__(self, planner: PollPlanner, gauge: Gauge, clocks: CpuClocks | None = None) -> None:
        self._planner = planner
        self._gauge = gauge
        self._clocks = clocks or CpuClocks()
        self._level = 0
        self._seen = self._now()
        self._task: asyncio.Task[None] | None = None
        gauge.set(LAG_FACTORS[0])

    async def measure(self) -> None:
        """Raise the factor by one level after a busy time, lower it by one after a relaxed time."""
        before, self._seen = self._seen, self._now()
        cpu_seconds, wall_seconds = (
            now - then for now, then in zip(self._seen, before, strict=True)
        )
        share = cpu_seconds / wall_seconds if wall_seconds > 0 else 0.0
        if share >= OVERLOADED_FROM:
            await self._set_level(min(self._level + 1, len(LAG_FACTORS) - 1))
        elif share < RELAXED_BELOW:
            await self._set_level(max(self._level - 1, 0))

    async def __aenter__(self) -> OverloadControl:
        """Measure every few seconds, in the background."""
        self._task = asyncio.create_task(self._measure_at_intervals())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            await stop_tasks([self._task])

    async def _measure_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.measure()

    async def _set_level(self, level: int) -> None:
        if level == self._level:
            return
        self._level = level
        self._gauge.set(LAG_FACTORS[level])
        for kind in self._planner.set_lag_factor(LAG_FACTORS[level]):
            self._planner.replan(kind)
            await asyncio.sleep(
                0
            )  # a plan takes milliseconds; polls that are due may run in between

    def _now(self) -> tuple[float, float]:
        return self._clocks.cpu_seconds(), self._clocks.monotonic()
