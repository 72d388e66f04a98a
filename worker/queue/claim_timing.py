"""When a lane looks into its queue: in a interval while it is busy, at once where somebody calls."""

from __future__ import annotations

import asyncio

from worker.batching.micro_batch import BATCHES_PER_SECOND, BatchInterval, wait_at_most

FALLBACK_CLAIM_SECONDS = 12 / BATCHES_PER_SECOND
"""The longest sleep between looks, for deliveries that came without a wake-up. Whole beats, so that
the looks of idle lanes fall together with whatever else the worker does."""
_CLAIMS_PER_SECOND = BATCHES_PER_SECOND / 2
"""Of a busy lane: what is due by itself, a poll for the most part, waits up to 80 ms."""


class ClaimTiming:
    """The looks of one lane, one after the other.

    What somebody calls for, so many times a second at most, does not wait until the lane would look
    by itself.
    """

    def __init__(self, calls_per_second: float) -> None:
        self._is_woken = asyncio.Event()
        self._scheduled = BatchInterval(_CLAIMS_PER_SECOND)
        self._woken = BatchInterval(calls_per_second)

    def wake(self) -> None:
        """Say that something may be due, or that there is room again."""
        self._is_woken.set()

    async def wait_until_allowed(self) -> None:
        """Wait until the next look may be made, which then answers all calls so far."""
        await self._scheduled.wait(self._is_woken)
        if self._is_woken.is_set():
            await self._woken.wait()
        self._is_woken.clear()

    async def sleep(self, delay_seconds: float) -> None:
        """Wait until a look is worthwhile: after the delay, at a call, or at the fallback.

        The fallback comes at the same moment for all lanes of a loop: they wake up once for it, and
        look in one round trip.
        """
        now = asyncio.get_running_loop().time()
        until_fallback = FALLBACK_CLAIM_SECONDS - now % FALLBACK_CLAIM_SECONDS
        await wait_at_most(self._is_woken, min(delay_seconds, until_fallback))
