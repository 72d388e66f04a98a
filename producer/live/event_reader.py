"""Reads new events from Postgres, once for all listeners of a process.

Each read returns exactly the events that the previous snapshot did not include. A change
announcement triggers a read immediately; without one, the reader runs every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from producer.live.event_frames import HEARTBEAT_FRAME, StoredEvent, frame_of, position_frame
from producer.live.event_listeners import Listener, ListenerGroup, QueuedFrame
from producer.live.event_queries import read_new_events, read_snapshot_now
from producer.live.positions import Position, Snapshot, safe_positions
from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.adapters.redis.change_messages import Change
from shared.errors import DarkroomError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedIntervals:
    """The intervals and the buffer size of an event feed."""

    read_seconds: float = 1.0
    """The longest time between two reads, and so the delay that a lost announcement causes."""
    min_gap_seconds: float = 0.01
    """The shortest time between two reads, however many announcements arrive."""
    heartbeat_seconds: float = 15.0
    """The longest time in which a listener receives nothing."""
    buffer_length: int = 256
    """The number of unsent frames at which a listener is dropped."""


@dataclass(frozen=True, slots=True)
class _PendingJoin:
    joined: asyncio.Future[Snapshot | None]
    listener: Listener
    group: ListenerGroup[UUID] | ListenerGroup[str]
    key: UUID | str


_Key = TypeVar("_Key", bound=Hashable)


class EventReader:
    """Reads new events while there are listeners, and sends them to these listeners."""

    def __init__(
        self,
        queries: Queries,
        intervals: FeedIntervals,
        on_found: Callable[[int], None] | None = None,
    ) -> None:
        self.jobs: ListenerGroup[UUID] = ListenerGroup()
        self.accounts: ListenerGroup[str] = ListenerGroup()
        self._queries = queries
        self._intervals = intervals
        self._on_found = on_found
        """Called with the number of events that a read found without an announcement."""
        self._was_woken = False
        self._snapshot: Snapshot | None = None
        self._pending_joins: list[_PendingJoin] = []
        self._wake_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next_heartbeat_at = 0.0
        self._is_closed = False

    def wake_for(self, changes: Sequence[Change]) -> None:
        """Read immediately if the changes concern a listener of this process."""
        if self.accounts or any(change.job_id in self.jobs for change in changes):
            self._wake_up.set()

    async def join(self, group: ListenerGroup[_Key], key: _Key, listener: Listener) -> Snapshot:
        """Send the listener every event that is not in the returned snapshot.

        The snapshot is newer than the call. After `close`, the listener is closed immediately.
        Raises `PostgresDown`.
        """
        snapshot = None if self._is_closed else await self._wait_for_join(group, key, listener)
        if snapshot is None:
            listener.close()
            return await read_snapshot_now(self._queries)
        return snapshot

    async def _wait_for_join(
        self, group: ListenerGroup[_Key], key: _Key, listener: Listener
    ) -> Snapshot | None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        joined: asyncio.Future[Snapshot | None] = asyncio.get_running_loop().create_future()
        self._pending_joins.append(_PendingJoin(joined, listener, group, key))  # type: ignore[arg-type]
        self._wake_up.set()
        return await joined

    async def close(self) -> None:
        """Stop reading, and close every listener, including those that are joining."""
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            await stop_tasks([task])
        pending, self._pending_joins = self._pending_joins, []
        _complete_joins(pending, None)
        self._close_all()

    async def _run(self) -> None:
        while True:
            await self._wait_for_wake_up()
            stop_if_cancelled()
            try:
                await self._read_for_joins()
            except DarkroomError as error:
                incidents.record_outage(error, doing="read_events")
                await asyncio.sleep(self._intervals.read_seconds)
            except Exception:
                # A bug. Closed listeners connect again and resume, instead of waiting without end.
                log.exception("events_failed")
                self._snapshot = None
                self._close_all()
            else:
                incidents.record_recovery(POSTGRES)
            self._send_heartbeats()

    async def _wait_for_wake_up(self) -> None:
        """Wait for an announcement, for the next regular read, or for the first listener."""
        if not self.jobs and not self.accounts and not self._pending_joins:
            self._snapshot = None
            await self._wake_up.wait()
        else:
            await asyncio.sleep(self._intervals.min_gap_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._intervals.read_seconds):
                    await self._wake_up.wait()
        self._was_woken = self._wake_up.is_set()
        self._wake_up.clear()

    async def _read_for_joins(self) -> None:
        pending, self._pending_joins = self._pending_joins, []
        try:
            snapshot = await self._read_and_send()
        except Exception as error:
            for one in pending:
                if not one.joined.done():
                    one.joined.set_exception(error)
            raise
        except asyncio.CancelledError:
            _complete_joins(pending, None)
            raise
        for one in pending:
            if not one.joined.done():
                one.group.add(one.key, one.listener)  # type: ignore[arg-type]
        _complete_joins(pending, snapshot)

    async def _read_and_send(self) -> Snapshot:
        last = self._snapshot
        if last is None:
            self._snapshot = await read_snapshot_now(self._queries)
            return self._snapshot
        new = await read_new_events(self._queries, last, self.jobs.keys, self.accounts.keys)
        self._snapshot = new.snapshot
        if new.snapshot.xmin < last.xmin:
            # Another server answers, and it lacks events that were sent: positions are not valid.
            log.error("events_went_back", last=last.text, now=new.snapshot.text)
            self._close_all()
        else:
            self._send(new.events, last.safe_position, new.snapshot.safe_position)
        return new.snapshot

    def _send(self, events: list[StoredEvent], start: Position, end: Position) -> None:
        now = asyncio.get_running_loop().time()
        if self._on_found is not None and not self._was_woken:
            found = sum(
                one.job_id in self.jobs or one.account_id in self.accounts for one in events
            )
            if found:
                self._on_found(found)
        positions = safe_positions(events, start, end)
        for event, position in zip(events, positions, strict=True):
            self.jobs.send(event.job_id, partial(build_queued_frame, event, event.id), now)
            self.accounts.send(event.account_id, partial(build_queued_frame, event, position), now)

    def _send_heartbeats(self) -> None:
        """Send a heartbeat to each listener that received nothing for `heartbeat_seconds`."""
        now = asyncio.get_running_loop().time()
        if now < self._next_heartbeat_at:
            return  # this read came before its regular time
        self._next_heartbeat_at = now + self._intervals.read_seconds / 2
        quiet_since = now - self._intervals.heartbeat_seconds
        heartbeat = QueuedFrame(0, HEARTBEAT_FRAME)
        for listener in self.jobs:
            if listener.last_sent_at <= quiet_since:
                listener.push(heartbeat, now)
        if self._snapshot is None:
            return
        # Listeners of an account also receive the current position, which makes a resume short.
        position_heartbeat = QueuedFrame(0, position_frame(self._snapshot.safe_position))
        for listener in self.accounts:
            if listener.last_sent_at <= quiet_since:
                listener.push(position_heartbeat, now)

    def _close_all(self) -> None:
        for listener in [*self.jobs, *self.accounts]:
            listener.close()


def _complete_joins(pending: list[_PendingJoin], snapshot: Snapshot | None) -> None:
    for one in pending:
        if not one.joined.done():
            one.joined.set_result(snapshot)


def build_queued_frame(event: StoredEvent, position: Position | int) -> QueuedFrame:
    """Return the event as a frame for the buffers of listeners."""
    return QueuedFrame(event.id, frame_of(event, position), event.is_end)
