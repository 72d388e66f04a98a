"""Sends items that come close together as one batch, at most so often.

The first item is sent at once. Items that arrive while a batch is in flight form the next batch.
With an interval, a busy sender also leaves a few milliseconds between two batches: to wake another
process costs more than the work of one item. An urgent item is sent without waiting for the
interval, together with every item that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import ceil
from typing import Generic, TypeVar

import structlog

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.incident_log import incidents
from shared.errors import DarkroomError

log = structlog.get_logger(__name__)

BATCHES_PER_SECOND = 25
"""The most batches of one kind that a busy worker sends in a second. An item waits up to 40 ms."""
POSTGRES_OFFSET_SECONDS = 0.006
"""How long after a tick the batches for Postgres are sent. Most replies of Redis to the batches of
that tick have arrived by then, and their steps add to the same batch."""
_BURST = 20
_ROUNDING = 1e-6

Item = TypeVar("Item")
Result = TypeVar("Result")


async def wait_at_most(event: asyncio.Event, most_seconds: float) -> None:
    """Return when the event is set, or after that many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_seconds):
            await event.wait()


class BatchInterval:
    """The least time between two batches. After a pause the first few may follow at once.

    A batch that waits is sent at the next tick of a clock that all intervals of the event loop
    share, so that a busy process wakes up once for all of them. `offset_seconds` moves the ticks of
    this interval, so that it includes what the batches of the tick have led to.
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
        """Return how long to wait before sending. The caller is counted as sending then."""
        self._next_at = max(self._next_at + self._gap_seconds, now - self._ahead_seconds)
        if self._next_at <= now:
            return 0.0
        ticks = ceil((self._next_at - self._offset_seconds) / self._gap_seconds - _ROUNDING)
        return max(ticks * self._gap_seconds + self._offset_seconds - now, 0.0)

    async def wait(self, urgent: asyncio.Event | None = None) -> None:
        """Wait until the next batch may be sent, or until `urgent` is set."""
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
        # Sent earlier than counted: without this, each urgent batch would delay the next one.
        self._next_at = min(self._next_at, loop.time())


class MicroBatch(Generic[Item, Result]):
    """Sends items in the order in which they came, at most `most` in a batch.

    `send` returns one result for each item, in their order. An exception among the results is
    raised to the caller of that item. An exception that `send` raises is raised to all callers of
    the batch.
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

    @property
    def waiting(self) -> int:
        """The number of items that no batch has taken yet."""
        return len(self._waiting)

    async def send_and_wait(self, item: Item, *, is_urgent: bool = False) -> Result:
        """Send the item and return its result. An urgent item does not wait for the interval."""
        reply: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if is_urgent:
            self._urgent.set()
        self._add(item, reply)
        return await reply

    def send_later(self, item: Item) -> None:
        """Send the item in the background. An error is logged and not raised."""
        self._add(item, None)

    async def flush(self) -> None:
        """Wait until every item is sent and answered, or has failed."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    async def close(self, most_seconds: float) -> None:
        """Wait until every item is sent, for that long at most. What is left is dropped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                await asyncio.sleep(0)  # an item of this turn starts its batch in the next one
                await self.flush()
        if self._sending is not None:
            await stop_tasks([self._sending])

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
                stop_if_cancelled()
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
            # A bug is raised to the callers as well. If they were cancelled instead, their loops
            # would end without a log line.
            replies = [error] * len(taken)
        except BaseException:
            # The process ends: no caller may wait for ever.
            _cancel(taken)
            raise
        unawaited_error: Exception | None = None
        for (_, reply), value in zip(taken, replies, strict=True):
            if reply is None:
                unawaited_error = value if isinstance(value, Exception) else unawaited_error
            elif reply.done():
                continue  # the caller was cancelled
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
