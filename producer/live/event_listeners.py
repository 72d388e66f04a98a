"""Listeners and the circles they form: who is told what, and what becomes of one who is slow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame on its way to listeners; made once, however many there are."""

    event_id: int
    """0 for what is no event."""
    frame: bytes
    is_end: bool = False
    """Whether nothing follows it."""


class Listener:
    """One listener: the frames that wait until its socket takes them, at most so many."""

    __slots__ = ("_buffer", "_buffer_length", "_waiter", "is_closed", "last_sent_at", "was_dropped")

    def __init__(self, length: int, now: float) -> None:
        self._buffer_length = length
        self._buffer: deque[QueuedFrame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.is_closed = False
        self.was_dropped = False
        """Whether it was closed for being too slow."""
        self.last_sent_at = now
        """When it was last told something, by the clock of the loop."""

    def push(self, entry: QueuedFrame, now: float) -> None:
        """Put an entry into the row; one whose row is full already is dropped. Never waits."""
        if self.is_closed:
            return
        if len(self._buffer) >= self._buffer_length:
            self.was_dropped = True
            self.close()
            return
        self._buffer.append(entry)
        self.last_sent_at = now
        self._wake()

    def close(self) -> None:
        """Tell it nothing more; what waits is forgotten."""
        self.is_closed = True
        self._buffer.clear()
        self._wake()

    async def take(self) -> list[QueuedFrame]:
        """Wait for entries and return all there are; none: it is closed."""
        if not self._buffer and not self.is_closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frames = list(self._buffer)
        self._buffer.clear()
        return frames

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


_Key = TypeVar("_Key", bound=Hashable)


class ListenerGroup(Generic[_Key]):
    """All who listen to one kind of thing, by what they listen to."""

    def __init__(self) -> None:
        self._listeners: dict[_Key, set[Listener]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Listener]:
        for listeners in self._listeners.values():
            yield from listeners

    def __contains__(self, key: object) -> bool:
        return key in self._listeners

    @property
    def keys(self) -> list[_Key]:
        """What is listened to."""
        return list(self._listeners)

    def add(self, key: _Key, listener: Listener) -> None:
        """Let the listener hear of this."""
        self._listeners.setdefault(key, set()).add(listener)
        self._count += 1

    def remove(self, key: _Key, listener: Listener) -> None:
        """Let it hear no more, where it did."""
        listeners = self._listeners.get(key, set())
        if listener in listeners:
            listeners.remove(listener)
            self._count -= 1
        if not listeners:
            self._listeners.pop(key, None)

    def send(self, key: _Key, make: Callable[[], QueuedFrame], now: float) -> None:
        """Tell all who listen to this; the entry is made only where somebody does."""
        listeners = self._listeners.get(key)
        if listeners:
            entry = make()
            for listener in listeners:
                listener.push(entry, now)
