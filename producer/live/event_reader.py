"""The one look of a process: every listener is told of each event once it is committed.

Each look asks for exactly what the snapshot of the look before did not show. News of changes only
makes a look happen at once; without any there is one a second.
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

from producer.live.event_frames import HEARTBEAT, StoredEvent, frame_of, standstill_frame
from producer.live.event_listeners import Circle, Entry, Listener
from producer.live.event_queries import look_since, snapshot_now
from producer.live.positions import Position, Snapshot, safe_positions
from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.adapters.redis.change_messages import Change
from shared.errors import DarkroomError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a feed does what."""

    look_seconds: float = 1.0
    """The longest time between two looks: what a lost message costs."""
    gap_seconds: float = 0.01
    """The least time between two looks, however fast the news comes."""
    heartbeat_seconds: float = 15.0
    """How long a listener is left without a word."""
    row_length: int = 256
    """How many frames wait for a listener before it is dropped."""


@dataclass(frozen=True, slots=True)
class _Joining:
    admit: asyncio.Future[Snapshot | None]
    listener: Listener
    circle: Circle[UUID] | Circle[str]
    key: UUID | str


_Key = TypeVar("_Key", bound=Hashable)


class Tail:
    """Looks for new events while anybody listens, and hands them out."""

    def __init__(
        self, queries: Queries, pace: Pace, on_found: Callable[[int], None] | None = None
    ) -> None:
        self.jobs: Circle[UUID] = Circle()
        self.accounts: Circle[str] = Circle()
        self._queries = queries
        self._pace = pace
        self._on_found = on_found
        """Called with the number of events that a look found without any news before it."""
        self._has_news = False
        self._snapshot: Snapshot | None = None
        self._joining: list[_Joining] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._beat_at = 0.0
        self._is_closed = False

    def note(self, changes: Sequence[Change]) -> None:
        """Look at once if the changes concern anybody here."""
        if self.accounts or any(change.job_id in self.jobs for change in changes):
            self._news.set()

    async def join(self, circle: Circle[_Key], key: _Key, listener: Listener) -> Snapshot:
        """Tell the listener of all that the returned snapshot does not show.

        The snapshot is younger than the call. After `close` the listener is closed at once.
        Raises `PostgresDown`.
        """
        snapshot = None if self._is_closed else await self._admission(circle, key, listener)
        if snapshot is None:
            listener.close()
            return await snapshot_now(self._queries)
        return snapshot

    async def _admission(
        self, circle: Circle[_Key], key: _Key, listener: Listener
    ) -> Snapshot | None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        admit: asyncio.Future[Snapshot | None] = asyncio.get_running_loop().create_future()
        self._joining.append(_Joining(admit, listener, circle, key))  # type: ignore[arg-type]
        self._news.set()
        return await admit

    async def close(self) -> None:
        """Look no more; every listener is closed, and so is whoever is about to join."""
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            await stop_tasks([task])
        joining, self._joining = self._joining, []
        _answer(joining, None)
        self._close_all()

    async def _run(self) -> None:
        while True:
            await self._pause()
            stop_if_cancelled()
            try:
                await self._look()
            except DarkroomError as error:
                incidents.record_outage(error, doing="read_events")
                await asyncio.sleep(self._pace.look_seconds)
            except Exception:
                # A mistake of ours: whoever listens comes again and resumes, instead of waiting.
                log.exception("events_failed")
                self._snapshot = None
                self._close_all()
            else:
                incidents.record_recovery(POSTGRES)
            self._beat()

    async def _pause(self) -> None:
        """Wait for news, for the next regular look, or for the first who listens."""
        if not self.jobs and not self.accounts and not self._joining:
            self._snapshot = None
            await self._news.wait()
        else:
            await asyncio.sleep(self._pace.gap_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.look_seconds):
                    await self._news.wait()
        self._has_news = self._news.is_set()
        self._news.clear()

    async def _look(self) -> None:
        joining, self._joining = self._joining, []
        try:
            snapshot = await self._look_and_tell()
        except Exception as error:
            for one in joining:
                if not one.admit.done():
                    one.admit.set_exception(error)
            raise
        except asyncio.CancelledError:
            _answer(joining, None)
            raise
        for one in joining:
            if not one.admit.done():
                one.circle.add(one.key, one.listener)  # type: ignore[arg-type]
        _answer(joining, snapshot)

    async def _look_and_tell(self) -> Snapshot:
        last = self._snapshot
        if last is None:
            self._snapshot = await snapshot_now(self._queries)
            return self._snapshot
        look = await look_since(self._queries, last, self.jobs.keys, self.accounts.keys)
        self._snapshot = look.snapshot
        if look.snapshot.xmin < last.xmin:
            # Another server answers, which lacks what this one had: positions mean nothing there.
            log.error("events_went_back", last=last.text, now=look.snapshot.text)
            self._close_all()
        else:
            self._tell(look.events, last.edge, look.snapshot.edge)
        return look.snapshot

    def _tell(self, events: list[StoredEvent], start: Position, end: Position) -> None:
        now = asyncio.get_running_loop().time()
        if self._on_found is not None and not self._has_news:
            found = sum(
                one.job_id in self.jobs or one.account_id in self.accounts for one in events
            )
            if found:
                self._on_found(found)
        positions = safe_positions(events, start, end)
        for event, position in zip(events, positions, strict=True):
            self.jobs.tell(event.job_id, partial(entry_of, event, event.id), now)
            self.accounts.tell(event.account_id, partial(entry_of, event, position), now)

    def _beat(self) -> None:
        """Say a word to whoever has not heard one for long."""
        now = asyncio.get_running_loop().time()
        if now < self._beat_at:
            return  # at a look that was not the regular one
        self._beat_at = now + self._pace.look_seconds / 2
        quiet_since = now - self._pace.heartbeat_seconds
        plain = Entry(0, HEARTBEAT)
        for listener in self.jobs:
            if listener.spoken_at <= quiet_since:
                listener.push(plain, now)
        if self._snapshot is None:
            return
        # An account's listener also hears how far it has come, which makes a resume short.
        standing = Entry(0, standstill_frame(self._snapshot.edge))
        for listener in self.accounts:
            if listener.spoken_at <= quiet_since:
                listener.push(standing, now)

    def _close_all(self) -> None:
        for listener in [*self.jobs, *self.accounts]:
            listener.close()


def _answer(joining: list[_Joining], snapshot: Snapshot | None) -> None:
    for one in joining:
        if not one.admit.done():
            one.admit.set_result(snapshot)


def entry_of(event: StoredEvent, position: Position | int) -> Entry:
    """Return the event as it goes to listeners."""
    return Entry(event.id, frame_of(event, position), event.is_end)
