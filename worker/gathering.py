"""Gathers what is asked for in one moment, so that it can be sent in one piece.

The first who asks waits for nobody; those who ask while an answer is under way go together next.
So an idle worker loses nothing, and a busy one pays for one round trip instead of a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Reply = TypeVar("Reply")


class Gathering(Generic[Item, Reply]):
    """Hands items on in the order in which they came, at most `most` together.

    `send` returns one reply per item, in their order; an exception among the replies is raised to
    whoever asked for that item, and one that `send` raises, to all of them.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Reply | Exception]]],
        *,
        most: int = 200,
    ) -> None:
        self._send = send
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Reply]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Reply:
        """Hand the item on and return its reply."""
        return await self._add(item)

    def tell(self, item: Item) -> None:
        """Hand the item on without waiting; an error is logged and forgotten."""
        self._add(item).add_done_callback(_forget)

    def _add(self, item: Item) -> asyncio.Future[Reply]:
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, reply))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return reply

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                taken = self._waiting[: self._most]
                del self._waiting[: self._most]
                await self._send_some(taken)
        finally:
            self._sending = None
            for _, reply in self._waiting:
                reply.cancel()
            self._waiting.clear()

    async def _send_some(self, taken: Sequence[tuple[Item, asyncio.Future[Reply]]]) -> None:
        replies: Sequence[Reply | Exception]
        try:
            replies = await self._send([item for item, _ in taken])
        except Exception as error:
            # Of a bug too it is those who asked that must hear: cancelled, their loops would end
            # without a word.
            replies = [error] * len(taken)
        except BaseException:
            # The end of the process: whoever waits must not do so for ever.
            for _, reply in taken:
                reply.cancel()
            raise
        for (_, reply), value in zip(taken, replies, strict=True):
            if reply.done():
                continue  # whoever asked has been cancelled
            if isinstance(value, Exception):
                reply.set_exception(value)
            else:
                reply.set_result(value)


def _forget(reply: asyncio.Future[Reply]) -> None:
    if not reply.cancelled() and (error := reply.exception()) is not None:
        log.warning("left_undone", error=str(error))
