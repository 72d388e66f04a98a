"""The event feed of a process: streams of frames per job and per account.

Whoever joins is told from one look on. The snapshot of that look divides what it is shown of the
past from what it will be told: no event lies on both sides, none on neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from uuid import UUID

from producer.live.change_subscription import Subscription
from producer.live.event_frames import StoredEvent, frame_of, standstill_frame
from producer.live.event_listeners import Circle, Listener
from producer.live.event_queries import JobPage, read_job, snapshot_now, walk
from producer.live.event_reader import Pace, Tail
from producer.live.positions import (
    Position,
    Snapshot,
    read_event_id,
    read_position,
    refuse_event_ahead,
    refuse_position_ahead,
    safe_positions,
)
from shared.adapters.postgres.database import Queries
from shared.errors import AccountNotFound

REPLAYS_AT_ONCE = 4
"""How many listeners of a process are shown the past at the same moment."""

_Key = TypeVar("_Key", UUID, str)


class EventFeed:
    """Tells listeners of every event, in the order in which they happened to each job.

    Streams begin with the first frame and go on with heartbeats; one that ends early (the process
    stops, or its reader was too slow) is resumed from the last `id:` that its reader saw.
    """

    def __init__(
        self, queries: Queries, subscription: Subscription, pace: Pace | None = None
    ) -> None:
        self._queries = queries
        self._subscription = subscription
        self._pace = pace or Pace()
        self._tail = Tail(queries, self._pace, subscription.path.record_found_without_push)
        self._replays = asyncio.Semaphore(REPLAYS_AT_ONCE)
        self._is_closed = False
        self._dropped = 0
        subscription.add(self._tail.note)

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._tail.jobs) + len(self._tail.accounts)

    @property
    def dropped(self) -> int:
        """How many listeners were dropped because they were too slow, since the start."""
        return self._dropped

    async def close(self) -> None:
        """End every stream, and every one that is opened from now on."""
        self._is_closed = True
        await self._tail.close()

    # --- one job ------------------------------------------------------------------------------

    @asynccontextmanager
    async def job_stream(
        self, job_id: UUID, last_event_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """Yield the frames of a job's events from the start, or after `Last-Event-ID`.

        They end with the event that ends the job; None where that one was seen already. Raises
        `JobNotFound`, `InvalidRequest` (naming the header) and `PostgresDown`.
        """
        seen_id = read_event_id(last_event_id)
        async with self._listening(self._tail.jobs, job_id) as (listener, _):
            page = await read_job(self._queries, job_id, seen_id)
            if page.end_id is not None and seen_id >= page.end_id:
                yield None
                return
            refuse_event_ahead(seen_id, page.newest_id)
            async with aclosing(self._job_frames(listener, page, seen_id)) as frames:
                yield frames

    async def _job_frames(
        self, listener: Listener, page: JobPage, seen_id: int
    ) -> AsyncGenerator[bytes]:
        while page.events:
            events = _until_end(page.events)
            seen_id = events[-1].id
            yield b"".join(frame_of(event, event.id) for event in events)
            if events[-1].is_end:
                return
            if page.is_last:
                break
            page = await read_job(self._queries, events[-1].job_id, seen_id)
        while entries := await listener.take():
            # What was read above may have been told as well. A heartbeat is no event.
            fresh = [one for one in entries if one.event_id > seen_id or not one.event_id]
            ends_at = next((n for n, one in enumerate(fresh, 1) if one.is_end), None)
            if fresh:
                yield b"".join(one.frame for one in fresh[:ends_at])
            if ends_at is not None:
                return

    # --- one account --------------------------------------------------------------------------

    @asynccontextmanager
    async def account_stream(
        self, account_id: str, last_event_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the frames of an account's events from now on, or after `Last-Event-ID`.

        A resume may repeat events, which their `id` in the data tells, but misses none; `0.0`
        is the beginning. Raises `AccountNotFound`, `InvalidRequest` (naming the header) and
        `PostgresDown`.
        """
        position = read_position(last_event_id)
        if await self._queries.fetch_row("get_account", account_id) is None:
            raise AccountNotFound(account_id)
        now = await snapshot_now(self._queries)
        if position is None:
            frames = self._account_frames(account_id, now.edge, now)
        else:
            refuse_position_ahead(position, now)
            frames = self._account_frames(account_id, position, None)
        async with aclosing(frames):
            yield frames

    async def _account_frames(
        self, account_id: str, position: Position, beyond: Snapshot | None
    ) -> AsyncGenerator[bytes]:
        yield standstill_frame(position)
        is_near = False
        while not is_near and not self._is_closed:
            # The long way is gone before joining: its reader may take all the time it needs.
            upto = await snapshot_now(self._queries)
            told = 0
            async with aclosing(self._past(account_id, position, upto, beyond)) as past:
                async for frames in past:
                    told += len(frames)
                    yield b"".join(frames)
            is_near = told < self._pace.row_length
            position, beyond = upto.edge, upto
        async with self._listening(self._tail.accounts, account_id) as (listener, joined):
            async with aclosing(self._past(account_id, position, joined, beyond)) as past:
                async for frames in past:
                    yield b"".join(frames)
            while entries := await listener.take():
                yield b"".join(one.frame for one in entries)

    async def _past(
        self, account_id: str, position: Position, upto: Snapshot, beyond: Snapshot | None
    ) -> AsyncGenerator[list[bytes]]:
        """Yield the frames of what `upto` shows and `beyond` did not, some at a time.

        A place among the replays is held only while a stretch is read, not while it is sent.
        """
        async with aclosing(walk(self._queries, account_id, position, upto, beyond)) as stretches:
            while True:
                async with self._replays:
                    stretch = await anext(stretches, None)
                if stretch is None:
                    return
                positions = safe_positions(stretch.events, position, stretch.end)
                position = max(position, stretch.end)
                if stretch.events:
                    named = zip(stretch.events, positions, strict=True)
                    yield [frame_of(event, place) for event, place in named]

    # --- both ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _listening(
        self, circle: Circle[_Key], key: _Key
    ) -> AsyncIterator[tuple[Listener, Snapshot]]:
        listener = Listener(self._pace.row_length, asyncio.get_running_loop().time())
        self._subscription.start()
        try:
            yield listener, await self._tail.join(circle, key, listener)
        finally:
            circle.remove(key, listener)
            self._dropped += listener.was_dropped


def _until_end(events: list[StoredEvent]) -> list[StoredEvent]:
    """Return the events up to the end of the job, which operators' notes may follow."""
    ends_at = next((number for number, one in enumerate(events, 1) if one.is_end), len(events))
    return events[:ends_at]
