"""A busy worker is patient: it asks less often while it has more to do than it can.

What it saves goes to the jobs that wait. OverloadControl multiplies the lag that a poll is worth to the
planner; at its most, tasks are still settled about as soon as by Kie's own advice.
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
"""How many times the usual lag a poll is worth, from at ease to overloaded."""
OVERLOADED_FROM = 0.8
RELAXED_BELOW = 0.6
"""Shares of one core. A step saves less than what lies between the two, so it is not taken back
at once."""
INTERVAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class CpuClocks:
    """What tells how busy this process was."""

    cpu_seconds: Callable[[], float] = time.process_time
    monotonic: Callable[[], float] = time.monotonic


class OverloadControl:
    """Looks now and then how busy this worker is, and has its planner planned accordingly."""

    def __init__(self, planner: PollPlanner, gauge: Gauge, clocks: CpuClocks | None = None) -> None:
        self._planner = planner
        self._gauge = gauge
        self._clocks = clocks or CpuClocks()
        self._step = 0
        self._seen = self._now()
        self._task: asyncio.Task[None] | None = None
        gauge.set(LAG_FACTORS[0])

    async def measure(self) -> None:
        """Take one step up after a busy time, one down after an easy one."""
        before, self._seen = self._seen, self._now()
        cpu_seconds, wall_seconds = (
            now - then for now, then in zip(self._seen, before, strict=True)
        )
        share = cpu_seconds / wall_seconds if wall_seconds > 0 else 0.0
        if share >= OVERLOADED_FROM:
            await self._go_to(min(self._step + 1, len(LAG_FACTORS) - 1))
        elif share < RELAXED_BELOW:
            await self._go_to(max(self._step - 1, 0))

    async def __aenter__(self) -> OverloadControl:
        """Look every few seconds, in the background."""
        self._task = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            await stop_tasks([self._task])

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.measure()

    async def _go_to(self, step: int) -> None:
        if step == self._step:
            return
        self._step = step
        self._gauge.set(LAG_FACTORS[step])
        for kind in self._planner.set_lag_factor(LAG_FACTORS[step]):
            self._planner.replan(kind)
            await asyncio.sleep(0)  # a plan takes milliseconds, and polls are due in between

    def _now(self) -> tuple[float, float]:
        return self._clocks.cpu_seconds(), self._clocks.monotonic()
