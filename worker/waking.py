"""Wakes the lanes when somebody delivers, so that a job starts within milliseconds."""

from __future__ import annotations

import asyncio

from shared.adapters.delivery import WAKE_CHANNEL, Delivery, listening
from shared.adapters.failure_log import REDIS, failures
from shared.errors import RedisDown
from worker.claiming import LeasedWorker


async def forward_wake_ups(delivery: Delivery, lanes: list[LeasedWorker]) -> None:
    """Wake whom somebody delivers to; on an outage the fallback carries on alone."""
    while True:
        try:
            async with listening(delivery.redis, WAKE_CHANNEL) as messages:
                failures.up(REDIS)
                async for message in messages:
                    called = message.split()
                    for lane in lanes:
                        # To look for what others were called for costs a round trip each.
                        if not called or lane.queue_name in called:
                            lane.wake()
        except RedisDown as error:
            failures.down(error, doing="listen_for_wake_ups")
            await asyncio.sleep(1)
