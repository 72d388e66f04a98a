"""The event feed of a process: streams of frames per job and per account.

A new listener joins at a database snapshot. Events in the snapshot are replayed from Postgres;
later events are sent as they are committed. Each event is therefore sent exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from uuid import UUID

from producer.live.change_subscription import ChangeSubscription
from producer.live.event_frames import StoredEvent, frame_of, position_frame
from producer.live.event_listeners import Listener, ListenerGroup
from producer.live.event_queries import JobEvents, read_job, read_ranges, read_snapshot_now
from producer.live.event_reader import EventReader, FeedIntervals
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

MAX_CONCURRENT_REPLAYS = 4
"""The number of listeners of a process that may read past events at the same time."""

_Key = TypeVar("_Key", UUID, str)


class EventFeed:
    """Sends events to listeners, in order for each job.

    A stream begins with the first frame and continues with heartbeats. It ends early if the process
    stops or if its reader is too slow. The reader then resumes from the last `id:` it received.
    """

    def __init__(
        self,
        queries: Queries,
        subscription: ChangeSubscription,
        intervals: FeedIntervals | None = None,
    ) -> None:
        self._queries = queries
        self._subscription = subscription
        self._intervals = intervals or FeedIntervals()
        self._reader = EventReader(
            queries, self._intervals, subscription.path.record_found_without_push
        )
        self._replays = asyncio.Semaphore(MAX_CONCURRENT_REPLAYS)
        self._is_closed = False
        self._dropped = 0
        subscription.add(self._reader.wake_for)

    @property
    def listener_count(self) -> int:
        """The number of listeners now."""
        return len(self._reader.jobs) + len(self._reader.accounts)

    @property
    def dropped_count(self) -> int:
        """The number of listeners dropped since the start because they were too slow."""
        return self._dropped

    async def close(self) -> None:
        """End every open stream, and every stream that is opened later."""
        self._is_closed = True
        await self._reader.close()

    # --- one job ------------------------------------------------------------------------------

    @asynccontextmanager
    async def job_stream(
        self, job_id: UUID, last_event_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """Yield the frames of a job's events from the start, or after `Last-Event-ID`.

        The frames end with the event that ends the job. Yields None if the client has already
        received that event. Raises `JobNotFound`, `PostgresDown`, and `InvalidRequest` for the
        header.
        """
        seen_id = read_event_id(last_event_id)
        async with self._join(self._reader.jobs, job_id) as (listener, _):
            page = await read_job(self._queries, job_id, seen_id)
            if page.end_id is not None and seen_id >= page.end_id:
                yield None
                return
            refuse_event_ahead(seen_id, page.newest_id)
            async with aclosing(self._job_frames(listener, page, seen_id)) as frames:
                yield frames

    async def _job_frames(
        self, listener: Listener, page: JobEvents, seen_id: int
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
        while frames := await listener.take():
            # The listener may also have received events that were read above. Heartbeats have id 0.
            fresh = [one for one in frames if one.event_id > seen_id or not one.event_id]
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

        A resume may repeat events but misses none; repeated events have the same `id` in their
        data. `0.0` is the beginning. Raises `AccountNotFound`, `PostgresDown`, and `InvalidRequest`
        for the header.
        """
        position = read_position(last_event_id)
        if await self._queries.fetch_row("get_account", account_id) is None:
            raise AccountNotFound(account_id)
        now = await read_snapshot_now(self._queries)
        if position is None:
            frames = self._account_frames(account_id, now.safe_position, now)
        else:
            refuse_position_ahead(position, now)
            frames = self._account_frames(account_id, position, None)
        async with aclosing(frames):
            yield frames

    async def _account_frames(
        self, account_id: str, position: Position, already_shown: Snapshot | None
    ) -> AsyncGenerator[bytes]:
        yield position_frame(position)
        is_caught_up = False
        while not is_caught_up and not self._is_closed:
            # Replay most of the past before joining, because a slow reader must not fill its live
            # buffer meanwhile.
            until = await read_snapshot_now(self._queries)
            sent_count = 0
            async with aclosing(
                self._read_past(account_id, position, until, already_shown)
            ) as past:
                async for past_frames in past:
                    sent_count += len(past_frames)
                    yield b"".join(past_frames)
            is_caught_up = sent_count < self._intervals.buffer_length
            position, already_shown = until.safe_position, until
        async with self._join(self._reader.accounts, account_id) as (listener, joined):
            async with aclosing(
                self._read_past(account_id, position, joined, already_shown)
            ) as past:
                async for past_frames in past:
                    yield b"".join(past_frames)
            while frames := await listener.take():
                yield b"".join(one.frame for one in frames)

    async def _read_past(
        self, account_id: str, position: Position, until: Snapshot, already_shown: Snapshot | None
    ) -> AsyncGenerator[list[bytes]]:
        """Yield the frames of the events in `until` that are not in `already_shown`, in batches.

        Only the read counts as a concurrent replay. Sending the frames does not.
        """
        async with aclosing(
            read_ranges(self._queries, account_id, position, until, already_shown)
        ) as event_ranges:
            while True:
                async with self._replays:
                    event_range = await anext(event_ranges, None)
                if event_range is None:
                    return
                positions = safe_positions(event_range.events, position, event_range.end)
                position = max(position, event_range.end)
                if event_range.events:
                    named = zip(event_range.events, positions, strict=True)
                    yield [frame_of(event, place) for event, place in named]

    # --- both ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _join(
        self, group: ListenerGroup[_Key], key: _Key
    ) -> AsyncIterator[tuple[Listener, Snapshot]]:
        listener = Listener(self._intervals.buffer_length, asyncio.get_running_loop().time())
        self._subscription.start()
        try:
            yield listener, await self._reader.join(group, key, listener)
        finally:
            group.remove(key, listener)
            self._dropped += listener.was_dropped


def _until_end(events: list[StoredEvent]) -> list[StoredEvent]:
    """Return the events up to the one that ends the job. Events of operators may follow it."""
    ends_at = next((number for number, one in enumerate(events, 1) if one.is_end), len(events))
    return events[:ends_at]
