"""The Redis subscription of a process to announcements of changed jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.monitoring.push_channels import PushChannel
from shared.adapters.redis.change_messages import Change, decode_changes
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.adapters.redis.subscription import SUBSCRIPTION_CHECK, SubscriptionCheck, subscribed
from shared.errors import RedisDown
from shared.redis_keys import CHANGES_CHANNEL

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 1.0

Receiver = Callable[[Sequence[Change]], None]


class ChangeSubscription:
    """Passes every announcement to all receivers.

    Announcements may be lost, so receivers must also poll Postgres.
    """

    def __init__(
        self, delivery_queue: DeliveryQueue, heartbeat: SubscriptionCheck = SUBSCRIPTION_CHECK
    ) -> None:
        self._delivery_queue = delivery_queue
        self._heartbeat = heartbeat
        self.path = PushChannel(
            "wait", "waits check Postgres every 2 s, event streams every second"
        )
        """Whether announcements arrive, and what the receivers found without one."""
        self._receivers: list[Receiver] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, receiver: Receiver) -> None:
        """Add a receiver of later announcements. It must not block or raise."""
        self._receivers.append(receiver)

    def start(self) -> None:
        """Subscribe, if not subscribed yet. Called when the first wait or stream begins."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Unsubscribe."""
        task, self._task = self._task, None
        if task is not None:
            await stop_tasks([task])

    async def _listen(self) -> None:
        while True:
            try:
                async with subscribed(
                    self._delivery_queue.redis, CHANGES_CHANNEL, self._heartbeat
                ) as messages:
                    self.path.record_open()
                    incidents.record_recovery(REDIS)
                    async for message in messages:
                        self._receive(message)
            except RedisDown as error:
                # Meanwhile, receivers poll Postgres.
                self.path.record_closed(str(error))
                incidents.record_outage(error, doing="listen_for_changes")
                await asyncio.sleep(RECONNECT_SECONDS)

    def _receive(self, message: str) -> None:
        self.path.record_push()
        try:
            changes = decode_changes(message)
        except ValueError:
            log.warning("news_misunderstood", message=message[:80])
            return
        for receiver in self._receivers:
            receiver(changes)
