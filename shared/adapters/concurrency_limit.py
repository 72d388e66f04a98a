"""Limits how many blocks run at once for each name, so that no name uses all of a resource."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class ConcurrencyLimit:
    """Runs at most `limit_per_name` blocks at once for each name. Others wait in FIFO order."""

    def __init__(self, limit_per_name: int) -> None:
        self._limit_per_name = limit_per_name
        self._in_use: dict[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold one slot of each name for the block."""
        held: list[str] = []
        try:
            # Sorted, so that two callers cannot wait for each other.
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
                self._release(name)  # the slot was passed on just before the cancellation
            raise

    def _release(self, name: str) -> None:
        waiting = self._waiting.get(name, [])
        while waiting:
            waiter = waiting.pop(0)
            if not waiter.done():
                waiter.set_result(None)  # pass the slot on
                break
        else:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]
        if not waiting:
            self._waiting.pop(name, None)
