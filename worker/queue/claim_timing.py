"""When a lane looks into its queue: in a tempo while it is busy, at once where somebody calls."""

from __future__ import annotations

import asyncio

from worker.batching.micro_batch import BEATS_PER_SECOND, Tempo, wait_for

FALLBACK_SECONDS = 12 / BEATS_PER_SECOND
"""The longest sleep between looks, for deliveries that came without a wake-up. Whole beats, so that
the looks of idle lanes fall together with whatever else the worker does."""
_LOOKS_PER_SECOND = BEATS_PER_SECOND / 2
"""Of a busy lane: what is due by itself, a poll for the most part, waits up to 80 ms."""


class Looks:
    """The looks of one lane, one after the other.

    What somebody calls for, so many times a second at most, does not wait until the lane would look
    by itself.
    """

    def __init__(self, calls_per_second: float) -> None:
        self._called = asyncio.Event()
        self._by_itself = Tempo(_LOOKS_PER_SECOND)
        self._by_call = Tempo(calls_per_second)

    def call(self) -> None:
        """Say that something may be due, or that there is room again."""
        self._called.set()

    async def wait_for_turn(self) -> None:
        """Wait until the next look may be made, which then answers all calls so far."""
        await self._by_itself.keep(self._called)
        if self._called.is_set():
            await self._by_call.keep()
        self._called.clear()

    async def sleep(self, delay_seconds: float) -> None:
        """Wait until a look is worthwhile: after the delay, at a call, or at the fallback.

        The fallback comes at the same moment for all lanes of a loop: they wake up once for it, and
        look in one round trip.
        """
        now = asyncio.get_running_loop().time()
        until_fallback = FALLBACK_SECONDS - now % FALLBACK_SECONDS
        await wait_for(self._called, min(delay_seconds, until_fallback))
