"""Buffers of listeners, and groups of listeners by what they listen to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame in the buffers of listeners. All listeners share one object."""

    event_id: int
    """0 for a heartbeat."""
    frame: bytes
    is_end: bool = False
    """Whether this is the last frame of its stream."""


class Listener:
    """One listener, with a bounded buffer of frames that are not sent yet."""

    __slots__ = ("_buffer", "_buffer_length", "_waiter", "is_closed", "last_sent_at", "was_dropped")

    def __init__(self, length: int, now: float) -> None:
        self._buffer_length = length
        self._buffer: deque[QueuedFrame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.is_closed = False
        self.was_dropped = False
        """Whether it was closed because its buffer was full."""
        self.last_sent_at = now
        """The time of the last frame, by the clock of the event loop."""

    def push(self, frame: QueuedFrame, now: float) -> None:
        """Add a frame to the buffer, without waiting. A full buffer closes the listener."""
        if self.is_closed:
            return
        if len(self._buffer) >= self._buffer_length:
            self.was_dropped = True
            self.close()
            return
        self._buffer.append(frame)
        self.last_sent_at = now
        self._wake()

    def close(self) -> None:
        """Close the listener and discard its buffer."""
        self.is_closed = True
        self._buffer.clear()
        self._wake()

    async def take(self) -> list[QueuedFrame]:
        """Wait for frames and return all of them. An empty list means that it is closed."""
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
    """The listeners of one kind, such as all listeners of jobs, by key."""

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
        """The keys that have a listener."""
        return list(self._listeners)

    def add(self, key: _Key, listener: Listener) -> None:
        """Add a listener for the key."""
        self._listeners.setdefault(key, set()).add(listener)
        self._count += 1

    def remove(self, key: _Key, listener: Listener) -> None:
        """Remove the listener, if it is there."""
        listeners = self._listeners.get(key, set())
        if listener in listeners:
            listeners.remove(listener)
            self._count -= 1
        if not listeners:
            self._listeners.pop(key, None)

    def send(self, key: _Key, make: Callable[[], QueuedFrame], now: float) -> None:
        """Push a frame to every listener of the key. `make` is called only if there is one."""
        listeners = self._listeners.get(key)
        if listeners:
            frame = make()
            for listener in listeners:
                listener.push(frame, now)
