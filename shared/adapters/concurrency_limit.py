"""Lets each name have only so many of something at once, so that no name takes all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Shares:
    """At most `most_each` blocks run at once for each name; the others wait in their order."""

    def __init__(self, most_each: int) -> None:
        self._most_each = most_each
        self._in_use: dict[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold one share of each name for the block."""
        held: list[str] = []
        try:
            # In one order, so that two callers never wait for each other.
            for name in sorted(set(names)):
                await self._take(name)
                held.append(name)
            yield
        finally:
            for name in held:
                self._give_back(name)

    async def _take(self, name: str) -> None:
        in_use = self._in_use.get(name, 0)
        if in_use < self._most_each:
            self._in_use[name] = in_use + 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(name)  # it was handed over in the moment of the cancellation
            raise

    def _give_back(self, name: str) -> None:
        waiting = self._waiting.get(name, [])
        while waiting:
            turn = waiting.pop(0)
            if not turn.done():
                turn.set_result(None)  # the share goes from hand to hand
                break
        else:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]
        if not waiting:
            self._waiting.pop(name, None)
