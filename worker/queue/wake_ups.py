"""Wakes the lanes when Redis publishes a wake-up, so that a job starts within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.monitoring.push_channels import PushChannel
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.adapters.redis.subscription import SUBSCRIPTION_CHECK, SubscriptionCheck, subscribed
from shared.errors import RedisDown
from shared.redis_keys import JOBS_WAIT, WAKE_UP_CHANNEL
from worker.queue.leased_worker import LeasedWorker

_RECONNECT_SECONDS = 1.0


async def forward_wake_ups(
    delivery_queue: DeliveryQueue,
    lanes: list[LeasedWorker],
    pushes: PushChannel,
    heartbeat: SubscriptionCheck = SUBSCRIPTION_CHECK,
    *,
    on_jobs_wait: Callable[[], object] = lambda: None,
) -> None:
    """Wake each lane that a message names. While Redis is down, lanes still claim twice a second.

    `on_jobs_wait` is called where a message says that jobs wait to be chosen.

    `pushes` is the channel on which the lanes count what they claim without a wake-up.
    """
    while True:
        try:
            async with subscribed(delivery_queue.redis, WAKE_UP_CHANNEL, heartbeat) as messages:
                pushes.record_open()
                incidents.record_recovery(REDIS)
                async for message in messages:
                    pushes.record_push()
                    called = message.split()
                    if JOBS_WAIT in called:
                        on_jobs_wait()
                    for lane in lanes:
                        # A claim of each lane for every wake-up would cost a round trip each.
                        if not called or lane.queue_name in called:
                            lane.wake()
        except RedisDown as error:
            incidents.record_outage(error, doing="listen_for_wake_ups")
            pushes.record_closed(str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)
