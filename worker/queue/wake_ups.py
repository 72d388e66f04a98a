"""Wakes the lanes when Redis publishes a wake-up, so that a job starts within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.monitoring.push_channels import PushChannel
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.adapters.redis.subscription import SUBSCRIPTION_CHECK, SubscriptionCheck, subscribed
from shared.errors import RedisDown
from shared.redis_keys import JOBS_WAIT, WAKE_UP_CHANNEL
from worker.queue.leased_worker import LeasedWorker

IDLE_CHECK_SECONDS = 2.0
"""How often the queues of idle lanes are checked: how long a lost wake-up can delay a delivery."""
_RECONNECT_SECONDS = 1.0


async def forward_wake_ups(
    delivery_queue: DeliveryQueue,
    lanes: list[LeasedWorker],
    pushes: PushChannel,
    heartbeat: SubscriptionCheck = SUBSCRIPTION_CHECK,
    *,
    on_jobs_wait: Callable[[], object] = lambda: None,
) -> None:
    """Wake each lane that a message names. While the channel is closed, lanes claim twice a second.

    `on_jobs_wait` is called where a message says that jobs wait to be chosen. When the channel is
    opened, messages may have been missed: it is called, and each lane is woken.

    `pushes` is the channel on which the lanes count what they claim without a wake-up.
    """
    while True:
        try:
            async with subscribed(delivery_queue.redis, WAKE_UP_CHANNEL, heartbeat) as messages:
                pushes.record_open()
                incidents.record_recovery(REDIS)
                on_jobs_wait()
                _wake(lanes)
                async for message in messages:
                    pushes.record_push()
                    called = message.split()
                    if JOBS_WAIT in called:
                        on_jobs_wait()
                    for lane in lanes:
                        # A claim of each lane for every wake-up would cost a round trip each.
                        if not called or lane.queue_name in called:
                            lane.wake(called)
        except RedisDown as error:
            incidents.record_outage(error, doing="listen_for_wake_ups")
            pushes.record_closed(str(error))
            _wake(lanes)
            await asyncio.sleep(_RECONNECT_SECONDS)


async def wake_lanes_with_deliveries(
    redis: Redis, lanes: Sequence[LeasedWorker], interval_seconds: float = IDLE_CHECK_SECONDS
) -> None:
    """Wake the idle lanes whose queues are not empty, at intervals. A wake-up may be lost.

    Asks Redis with one command for all lanes.
    """
    while True:
        stop_if_cancelled()
        await asyncio.sleep(interval_seconds)
        idle = [lane for lane in lanes if lane.is_idle]
        if not idle:
            continue
        try:
            has_deliveries = await redis.exists(*(lane.queue_name for lane in idle)) > 0
        except (RedisError, OSError):
            has_deliveries = True  # unknown; a claim reports the outage
        if has_deliveries:
            _wake(idle)


def _wake(lanes: Sequence[LeasedWorker]) -> None:
    for lane in lanes:
        lane.wake()
