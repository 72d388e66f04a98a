"""Gathers what is asked for in one moment, so that it can be sent in one piece.

The first who asks waits for nobody; those who ask while an answer is under way go together next.
With a tempo, a busy one also lets a few milliseconds pass between two sendings, because waking
another process costs more than all that is said to it. So an idle worker loses nothing, and a busy
one pays for one round trip instead of a hundred. What is urgent keeps no tempo, and takes along
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

BEATS_PER_SECOND = 25
"""How often a busy worker speaks to Redis, and to Postgres about one kind of move: what falls due
in between waits up to 40 ms and shares the cost of waking the other side."""
AFTER_THE_BEAT_SECONDS = 0.006
"""By then the answers to what was asked at the beat have mostly come."""
_TEMPO_BURST = 20
_ROUNDING = 1e-6

Item = TypeVar("Item")
Reply = TypeVar("Reply")


async def wait_for(event: asyncio.Event, most_seconds: float) -> None:
    """Wait until the event is set, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_seconds):
            await event.wait()


class Tempo:
    """How fast sendings may follow each other: the first few at once, then so many per second.

    Those that wait do so until the next beat of a clock that all tempos of the loop share, so that
    a busy process wakes up once for what falls together, which is dear: its caches are cold. An
    offset lets this one follow the beat, for what the others' sendings have led to by then.
    """

    def __init__(
        self,
        per_second: float = BEATS_PER_SECOND,
        *,
        burst: int = _TEMPO_BURST,
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

    async def keep(self, hurry: asyncio.Event | None = None) -> None:
        """Wait until it is time for the next, or until there is a hurry."""
        if hurry is not None and hurry.is_set():
            return
        loop = asyncio.get_running_loop()
        delay_seconds = self.seconds_until_next(loop.time())
        if delay_seconds <= 0:
            return
        if hurry is None:
            await asyncio.sleep(delay_seconds)
            return
        await wait_for(hurry, delay_seconds)
        # Counted as sent when it was to be, each hurried one would push the next further away.
        self._next_at = min(self._next_at, loop.time())


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
        tempo: Tempo | None = None,
    ) -> None:
        self._send = send
        self._most = most
        self._tempo = tempo
        self._waiting: list[tuple[Item, asyncio.Future[Reply] | None]] = []
        self._hurry = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def ask(self, item: Item, *, is_urgent: bool = False) -> Reply:
        """Hand the item on and return its reply; an urgent one at once, whatever the tempo."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if is_urgent:
            self._hurry.set()
        self._add(item, reply)
        return await reply

    def tell(self, item: Item) -> None:
        """Hand the item on without waiting; an error is logged and forgotten."""
        self._add(item, None)

    async def flush(self) -> None:
        """Wait until all that was handed on has been answered, or given up."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    def _add(self, item: Item, reply: asyncio.Future[Reply] | None) -> None:
        self._waiting.append((item, reply))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                if self._tempo is not None:
                    await self._tempo.keep(self._hurry)
                taken = self._waiting[: self._most]
                del self._waiting[: self._most]
                if not self._waiting:
                    self._hurry.clear()
                await self._send_some(taken)
        finally:
            self._sending = None
            _cancel(self._waiting)
            self._waiting.clear()
            self._hurry.clear()

    async def _send_some(self, taken: Sequence[tuple[Item, asyncio.Future[Reply] | None]]) -> None:
        replies: Sequence[Reply | Exception]
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
        unheard: Exception | None = None
        for (_, reply), value in zip(taken, replies, strict=True):
            if reply is None:
                unheard = value if isinstance(value, Exception) else unheard
            elif reply.done():
                continue  # whoever asked has been cancelled
            elif isinstance(value, Exception):
                reply.set_exception(value)
            else:
                reply.set_result(value)
        if unheard is not None:
            if isinstance(unheard, DarkroomError):
                incidents.record_outage(unheard, doing="tell")
            else:
                log.warning("left_undone", error=repr(unheard))


def _cancel(taken: Sequence[tuple[Item, asyncio.Future[Reply] | None]]) -> None:
    for _, reply in taken:
        if reply is not None:
            reply.cancel()
