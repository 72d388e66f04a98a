"""Publishes the ids of changed jobs to Redis in the background. Steps never wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.redis.change_messages import Change, encode_changes
from shared.errors import RedisDown
from shared.redis_keys import CHANGES_CHANNEL
from worker.batching.micro_batch import BatchInterval, MicroBatch
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
        await scripts.run("publish", (CHANGES_CHANNEL,), (encode_changes(changes),), may_wait=True)

    return send


class ChangePublisher:
    """Publishes the changes of a worker in batches.

    A change that cannot be published is dropped, and so is one that comes while `MAX_BACKLOG` wait:
    it is a hint.
    """

    def __init__(
        self, send: SendChanges, *, outage_seconds: float = PAUSE_AFTER_OUTAGE_SECONDS
    ) -> None:
        self.job_ended = asyncio.Event()
        """Set by a change by which a job has ended."""
        self._send = send
        self._outage_seconds = outage_seconds
        self._batch = MicroBatch[Change, None](
            self._publish_all, most=MAX_BACKLOG, interval=BatchInterval()
        )

    def publish(self, change: Change) -> None:
        """Publish the change soon. Never waits and never raises."""
        if change.has_ended:
            self.job_ended.set()
        if self._batch.waiting < MAX_BACKLOG:
            self._batch.send_later(change)

    async def close(self) -> None:
        """Publish what is left, within a second."""
        await self._batch.close(CLOSE_SECONDS)

    async def _publish_all(self, changes: Sequence[Change]) -> Sequence[None]:
        """Publish each job once. Where Redis is down, the next batch waits."""
        has_ended: dict[UUID, bool] = {}
        for change in changes:
            has_ended[change.job_id] = change.has_ended or has_ended.get(change.job_id, False)
        try:
            await self._send([Change(*item) for item in has_ended.items()])
        except RedisDown as error:
            incidents.record_outage(error, doing="announce_changes")
            await asyncio.sleep(self._outage_seconds)
        else:
            incidents.record_recovery(REDIS)
        return [None] * len(changes)
