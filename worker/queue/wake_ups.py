"""Wakes the lanes when somebody delivers, so that a job starts within milliseconds."""

from __future__ import annotations

import asyncio

from shared.adapters.monitoring.incident_log import REDIS, failures
from shared.adapters.monitoring.push_channels import PushPath
from shared.adapters.redis.deliveries import WAKE_CHANNEL, Delivery
from shared.adapters.redis.subscription import listening
from shared.adapters.tcp_keepalive import HEARTBEAT, Heartbeat
from shared.errors import RedisDown
from worker.queue.leased_worker import LeasedWorker

_RECONNECT_SECONDS = 1.0


async def forward_wake_ups(
    delivery: Delivery,
    lanes: list[LeasedWorker],
    path: PushPath,
    heartbeat: Heartbeat = HEARTBEAT,
) -> None:
    """Wake whom somebody delivers to; on an outage the fallback carries on alone.

    What the lanes claim meanwhile is counted on the path.
    """
    for lane in lanes:
        lane.wake_path = path
    while True:
        try:
            async with listening(delivery.redis, WAKE_CHANNEL, heartbeat) as messages:
                path.note_open()
                failures.up(REDIS)
                async for message in messages:
                    path.note_pushed()
                    called = message.split()
                    for lane in lanes:
                        # To look for what others were called for costs a round trip each.
                        if not called or lane.queue_name in called:
                            lane.wake()
        except RedisDown as error:
            failures.down(error, doing="listen_for_wake_ups")
            path.note_closed(str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)
