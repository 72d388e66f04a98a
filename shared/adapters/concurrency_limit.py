"""Lets each name have only so many of something at once, so that no name takes all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class ConcurrencyLimit:
    """At most `limit_per_name` blocks run at once for each name; the others wait in their order."""

    def __init__(self, limit_per_name: int) -> None:
        self._limit_per_name = limit_per_name
        self._in_use: dict[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold one share of each name for the block."""
        held: list[str] = []
        try:
            # In one order, so that two callers never wait for each other.
            for name in sorted(set(names)):
                await self._acquire(name)
                held.append(name)
            yield
        finally:
            for name in held:
                self._release(name)

    async def _acquire(self, name: str) -> None:
        in_use = self._in_use.get(name, 0)
        if in_use < self._limit_per_name:
            self._in_use[name] = in_use + 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._release(name)  # it was handed over in the moment of the cancellation
            raise

    def _release(self, name: str) -> None:
        waiting = self._waiting.get(name, [])
        while waiting:
            waiter = waiting.pop(0)
            if not waiter.done():
                waiter.set_result(None)  # the share goes from hand to hand
                break
        else:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]
        if not waiting:
            self._waiting.pop(name, None)
