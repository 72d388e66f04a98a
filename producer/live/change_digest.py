"""Tells listeners once a second which jobs of any account have changed, without their events.

It needs no query. An announcement that Redis loses is not repeated, so listeners also read again by
themselves from time to time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from uuid import UUID

import orjson

from producer.live.change_subscription import ChangeSubscription
from producer.live.event_frames import HEARTBEAT_FRAME
from shared.adapters.redis.change_messages import Change

IDS_MAX = 500
"""The most job ids of one frame. More changes are told without ids."""


class ChangeDigest:
    """The listeners of a process, each with the jobs that changed since its last frame."""

    def __init__(
        self,
        subscription: ChangeSubscription,
        *,
        interval_seconds: float = 1.0,
        heartbeat_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscription = subscription
        self._interval_seconds = interval_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._listeners: set[_Changed] = set()
        subscription.add(self._receive)

    @property
    def listener_count(self) -> int:
        """The number of listeners now."""
        return len(self._listeners)

    async def frames(self, stopping: asyncio.Event) -> AsyncGenerator[bytes]:
        """Yield a frame for each second with changes, and heartbeats, until `stopping` is set."""
        changed = _Changed()
        self._listeners.add(changed)
        self._subscription.start()
        sent_at = self._clock()
        try:
            while not stopping.is_set():
                await asyncio.sleep(self._interval_seconds)
                if changed.is_any:
                    yield changed.take_frame()
                elif self._clock() - sent_at < self._heartbeat_seconds:
                    continue
                else:
                    yield HEARTBEAT_FRAME
                sent_at = self._clock()
        finally:
            self._listeners.discard(changed)

    def _receive(self, changes: Sequence[Change]) -> None:
        for listener in self._listeners:
            listener.add(changes)


class _Changed:
    """The jobs that changed since the last frame of a listener."""

    def __init__(self) -> None:
        self._ids: dict[UUID, None] = {}
        self._has_more = False

    @property
    def is_any(self) -> bool:
        """Whether any job changed."""
        return bool(self._ids)

    def add(self, changes: Sequence[Change]) -> None:
        """Remember the jobs of an announcement."""
        for change in changes:
            if len(self._ids) >= IDS_MAX:
                self._has_more = True
                return
            self._ids[change.job_id] = None

    def take_frame(self) -> bytes:
        """Return the frame of the remembered jobs, and forget them."""
        data = orjson.dumps({"jobs": [str(one) for one in self._ids], "more": self._has_more})
        self._ids, self._has_more = {}, False
        return b"event: changes\ndata: %b\n\n" % data
