"""The one subscription of a process to the news of changed jobs, whoever wants to hear them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.incident_log import REDIS, failures
from shared.adapters.monitoring.push_channels import PushPath
from shared.adapters.redis.change_messages import CHANGES_CHANNEL, Change, from_message
from shared.adapters.redis.deliveries import Delivery
from shared.adapters.redis.subscription import listening
from shared.adapters.tcp_keepalive import HEARTBEAT, Heartbeat
from shared.errors import RedisDown

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 1.0

Receiver = Callable[[Sequence[Change]], None]


class Subscription:
    """Hands every message to all receivers. News may be lost: receivers must look as well."""

    def __init__(self, delivery: Delivery, heartbeat: Heartbeat = HEARTBEAT) -> None:
        self._delivery = delivery
        self._heartbeat = heartbeat
        self.path = PushPath("wait", "waits look every 2 s, streams of events every second")
        """Whether news arrives, and what the receivers had to find without any."""
        self._receivers: list[Receiver] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, receiver: Receiver) -> None:
        """Let the receiver hear what comes from now on; it must neither wait nor raise."""
        self._receivers.append(receiver)

    def start(self) -> None:
        """Begin to listen, unless that is so already: nobody subscribes before somebody waits."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        task, self._task = self._task, None
        if task is not None:
            await stop_tasks([task])

    async def _listen(self) -> None:
        while True:
            try:
                async with listening(
                    self._delivery.redis, CHANGES_CHANNEL, self._heartbeat
                ) as messages:
                    self.path.note_open()
                    failures.up(REDIS)
                    async for message in messages:
                        self._receive(message)
            except RedisDown as error:
                # Those who wait look into Postgres by themselves meanwhile.
                self.path.note_closed(str(error))
                failures.down(error, doing="listen_for_changes")
                await asyncio.sleep(RECONNECT_SECONDS)

    def _receive(self, message: str) -> None:
        self.path.note_pushed()
        try:
            changes = from_message(message)
        except ValueError:
            log.warning("news_misunderstood", message=message[:80])
            return
        for receiver in self._receivers:
            receiver(changes)
