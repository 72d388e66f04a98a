"""A busy worker is patient: it asks less often while it has more to do than it can.

What it saves goes to the jobs that wait. Patience multiplies the lag that a poll is worth to the
timetable; at its most, tasks are still settled about as soon as by Kie's own advice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from shared.adapters.async_tasks import stop_tasks
from worker.poll_timing import Timetable

STEPS = (1.0, 1.6, 2.5)
"""How many times the usual lag a poll is worth, from at ease to overloaded."""
BUSY_FROM = 0.8
AT_EASE_BELOW = 0.6
"""Shares of one core. A step saves less than what lies between the two, so it is not taken back
at once."""
INTERVAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """What tells how busy this process was."""

    cpu_seconds: Callable[[], float] = time.process_time
    monotonic: Callable[[], float] = time.monotonic


class Patience:
    """Looks now and then how busy this worker is, and has its timetable planned accordingly."""

    def __init__(self, timetable: Timetable, gauge: Gauge, clocks: Clocks | None = None) -> None:
        self._timetable = timetable
        self._gauge = gauge
        self._clocks = clocks or Clocks()
        self._step = 0
        self._seen = self._now()
        self._task: asyncio.Task[None] | None = None
        gauge.set(STEPS[0])

    async def look(self) -> None:
        """Take one step up after a busy time, one down after an easy one."""
        before, self._seen = self._seen, self._now()
        cpu_seconds, wall_seconds = (
            now - then for now, then in zip(self._seen, before, strict=True)
        )
        share = cpu_seconds / wall_seconds if wall_seconds > 0 else 0.0
        if share >= BUSY_FROM:
            await self._go_to(min(self._step + 1, len(STEPS) - 1))
        elif share < AT_EASE_BELOW:
            await self._go_to(max(self._step - 1, 0))

    async def __aenter__(self) -> Patience:
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
            await self.look()

    async def _go_to(self, step: int) -> None:
        if step == self._step:
            return
        self._step = step
        self._gauge.set(STEPS[step])
        for kind in self._timetable.be_patient(STEPS[step]):
            self._timetable.replan(kind)
            await asyncio.sleep(0)  # a plan takes milliseconds, and polls are due in between

    def _now(self) -> tuple[float, float]:
        return self._clocks.cpu_seconds(), self._clocks.monotonic()
