"""Publishes the ids of changed jobs to Redis in the background. Steps never wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.redis.change_messages import Change, encode_changes
from shared.errors import RedisDown
from shared.redis_keys import CHANGES_CHANNEL
from worker.batching.micro_batch import BatchInterval
from worker.batching.redis_scripts import RedisScripts

PAUSE_AFTER_OUTAGE_SECONDS = 1.0
"""The pause after Redis did not answer. Listeners poll Postgres meanwhile."""
MAX_BACKLOG = 10_000
CLOSE_SECONDS = 1.0

PublishChange = Callable[[Change], None]
SendChanges = Callable[[Sequence[Change]], Awaitable[None]]
"""Publishes changes; raises `RedisDown`."""


def discard_change(_: Change) -> None:
    """Discard the change. The default where no publisher is configured."""


def send_with(scripts: RedisScripts) -> SendChanges:
    """Return a function that publishes through the batch of scripts, in their round trip."""

    async def send(changes: Sequence[Change]) -> None:
        arguments = (CHANGES_CHANNEL, encode_changes(changes))
        await scripts.run("publish", (), arguments, may_wait=True)

    return send


class ChangePublisher:
    """Collects the changes of a worker and publishes them in batches.

    The first change after a pause is published at once. While one batch follows another, each holds
    the changes that came meanwhile. A change that cannot be published is dropped: it is a hint.
    """

    def __init__(
        self, send: SendChanges, *, outage_seconds: float = PAUSE_AFTER_OUTAGE_SECONDS
    ) -> None:
        self._send = send
        self._outage_seconds = outage_seconds
        self._backlog: dict[UUID, bool] = {}
        self._interval = BatchInterval()
        self._task: asyncio.Task[None] | None = None

    def publish(self, change: Change) -> None:
        """Publish the change soon. Never waits and never raises."""
        if len(self._backlog) >= MAX_BACKLOG:
            self._backlog.clear()
        has_ended = change.has_ended or self._backlog.get(change.job_id, False)
        self._backlog[change.job_id] = has_ended
        if self._task is None:
            self._task = asyncio.create_task(self._publish_all())

    async def close(self) -> None:
        """Publish what is left, within a second."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        if self._task is not None:
            await stop_tasks([self._task])

    async def _publish_all(self) -> None:
        try:
            while self._backlog:
                await self._interval.wait()
                changes = [Change(*item) for item in self._backlog.items()]
                self._backlog.clear()
                if not await self._publish(changes):
                    await asyncio.sleep(self._outage_seconds)
                stop_if_cancelled()
        finally:
            self._task = None

    async def _publish(self, changes: list[Change]) -> bool:
        """Publish the changes. Returns False where Redis is down."""
        try:
            await self._send(changes)
        except RedisDown as error:
            incidents.record_outage(error, doing="announce_changes")
            return False
        incidents.record_recovery(REDIS)
        return True
