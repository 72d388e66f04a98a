"""When a lane makes its next claim: at an interval while it is busy, at once when it is woken."""

from __future__ import annotations

import asyncio

from worker.batching.micro_batch import BATCHES_PER_SECOND, BatchInterval, wait_at_most

FALLBACK_CLAIM_SECONDS = 12 / BATCHES_PER_SECOND
"""The longest time between two claims, for deliveries without a wake-up. It is a whole number of
ticks, so that the claims of idle lanes share a round trip."""
_CLAIMS_PER_SECOND = BATCHES_PER_SECOND / 2
"""Of a busy lane: a delivery that becomes due by itself, usually a poll, waits up to 80 ms."""


class ClaimTiming:
    """The claims of one lane.

    A wake-up causes a claim before the next scheduled one, at most so many times a second.
    """

    def __init__(self, calls_per_second: float) -> None:
        self._is_woken = asyncio.Event()
        self._scheduled = BatchInterval(_CLAIMS_PER_SECOND)
        self._woken = BatchInterval(calls_per_second)

    def wake(self) -> None:
        """Request a claim: a delivery may be due, or a slot is free."""
        self._is_woken.set()

    async def wait_until_allowed(self) -> None:
        """Wait until the next claim may be made. That claim answers all wake-ups before it."""
        await self._scheduled.wait(self._is_woken)
        if self._is_woken.is_set():
            await self._woken.wait()
        self._is_woken.clear()

    async def sleep(self, delay_seconds: float | None) -> None:
        """Wait for the delay, a wake-up or the fallback, whichever comes first; None: for a wake-up
        alone.

        The fallback is at the same time for all lanes of an event loop: they wake up once for it,
        and claim in one round trip.
        """
        if delay_seconds is None:
            await self._is_woken.wait()
            return
        now = asyncio.get_running_loop().time()
        until_fallback = FALLBACK_CLAIM_SECONDS - now % FALLBACK_CLAIM_SECONDS
        await wait_at_most(self._is_woken, min(delay_seconds, until_fallback))
