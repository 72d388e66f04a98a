"""Gathers what is asked for in one moment, so that it can be sent in one piece.

The first who asks waits for nobody; those who ask while an answer is under way go together next.
With a interval, a busy one also lets a few milliseconds pass between two sendings, because waking
another process costs more than all that is said to it. So an idle worker loses nothing, and a busy
one pays for one round trip instead of a hundred. What is urgent keeps no interval, and takes along
whoever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import ceil
from typing import Generic, TypeVar

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.errors import DarkroomError

log = structlog.get_logger(__name__)

BATCHES_PER_SECOND = 25
"""How often a busy worker speaks to Redis, and to Postgres about one kind of move: what falls due
in between waits up to 40 ms and shares the cost of waking the other side."""
POSTGRES_OFFSET_SECONDS = 0.006
"""By then the answers to what was asked at the beat have mostly come."""
_BURST = 20
_ROUNDING = 1e-6

Item = TypeVar("Item")
Result = TypeVar("Result")


async def wait_at_most(event: asyncio.Event, most_seconds: float) -> None:
    """Wait until the event is set, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_seconds):
            await event.wait()


class BatchInterval:
    """How fast sendings may follow each other: the first few at once, then so many per second.

    Those that wait do so until the next beat of a clock that all tempos of the loop share, so that
    a busy process wakes up once for what falls together, which is dear: its caches are cold. An
    offset lets this one follow the beat, for what the others' sendings have led to by then.
    """

    def __init__(
        self,
        per_second: float = BATCHES_PER_SECOND,
        *,
        burst: int = _BURST,
        offset_seconds: float = 0.0,
    ) -> None:
        self._gap_seconds = 1.0 / per_second
        self._offset_seconds = offset_seconds
        self._ahead_seconds = burst * self._gap_seconds
        self._next_at = float("-inf")

    def seconds_until_next(self, now: float) -> float:
        """Return how long to wait before sending; whoever asks is counted as sending then."""
        self._next_at = max(self._next_at + self._gap_seconds, now - self._ahead_seconds)
        if self._next_at <= now:
            return 0.0
        beats = ceil((self._next_at - self._offset_seconds) / self._gap_seconds - _ROUNDING)
        return max(beats * self._gap_seconds + self._offset_seconds - now, 0.0)

    async def wait(self, urgent: asyncio.Event | None = None) -> None:
        """Wait until it is time for the next, or until there is a urgent."""
        if urgent is not None and urgent.is_set():
            return
        loop = asyncio.get_running_loop()
        delay_seconds = self.seconds_until_next(loop.time())
        if delay_seconds <= 0:
            return
        if urgent is None:
            await asyncio.sleep(delay_seconds)
            return
        await wait_at_most(urgent, delay_seconds)
        # Counted as sent when it was to be, each hurried one would push the next further away.
        self._next_at = min(self._next_at, loop.time())


class MicroBatch(Generic[Item, Result]):
    """Hands items on in the order in which they came, at most `most` together.

    `send` returns one reply per item, in their order; an exception among the replies is raised to
    whoever asked for that item, and one that `send` raises, to all of them.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        most: int = 200,
        interval: BatchInterval | None = None,
    ) -> None:
        self._send = send
        self._most = most
        self._interval = interval
        self._waiting: list[tuple[Item, asyncio.Future[Result] | None]] = []
        self._urgent = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def send_and_wait(self, item: Item, *, is_urgent: bool = False) -> Result:
        """Hand the item on and return its reply; an urgent one at once, whatever the interval."""
        reply: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if is_urgent:
            self._urgent.set()
        self._add(item, reply)
        return await reply

    def send_later(self, item: Item) -> None:
        """Hand the item on without waiting; an error is logged and forgotten."""
        self._add(item, None)

    async def flush(self) -> None:
        """Wait until all that was handed on has been answered, or given up."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    def _add(self, item: Item, reply: asyncio.Future[Result] | None) -> None:
        self._waiting.append((item, reply))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                if self._interval is not None:
                    await self._interval.wait(self._urgent)
                taken = self._waiting[: self._most]
                del self._waiting[: self._most]
                if not self._waiting:
                    self._urgent.clear()
                await self._send_some(taken)
        finally:
            self._sending = None
            _cancel(self._waiting)
            self._waiting.clear()
            self._urgent.clear()

    async def _send_some(self, taken: Sequence[tuple[Item, asyncio.Future[Result] | None]]) -> None:
        replies: Sequence[Result | Exception]
        try:
            replies = await self._send([item for item, _ in taken])
        except Exception as error:
            # Of a bug too it is those who asked that must hear: cancelled, their loops would end
            # without a word.
            replies = [error] * len(taken)
        except BaseException:
            # The end of the process: whoever waits must not do so for ever.
            _cancel(taken)
            raise
        unawaited_error: Exception | None = None
        for (_, reply), value in zip(taken, replies, strict=True):
            if reply is None:
                unawaited_error = value if isinstance(value, Exception) else unawaited_error
            elif reply.done():
                continue  # whoever asked has been cancelled
            elif isinstance(value, Exception):
                reply.set_exception(value)
            else:
                reply.set_result(value)
        if unawaited_error is not None:
            if isinstance(unawaited_error, DarkroomError):
                incidents.record_outage(unawaited_error, doing="tell")
            else:
                log.warning("left_undone", error=repr(unawaited_error))


def _cancel(taken: Sequence[tuple[Item, asyncio.Future[Result] | None]]) -> None:
    for _, reply in taken:
        if reply is not None:
            reply.cancel()
