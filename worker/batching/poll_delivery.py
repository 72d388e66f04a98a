"""Delivers the polls of new tasks: those that come together in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from worker.batching.micro_batch import BatchInterval, MicroBatch


class PollDeliveryBatch:
    """The way from the submit step to the poll lane."""

    def __init__(self, delivery_queue: DeliveryQueue) -> None:
        self._delivery_queue = delivery_queue
        # The first poll of a task is seconds away: it can wait for the beat.
        self._parcels: MicroBatch[Delivery, None] = MicroBatch(
            self._deliver, interval=BatchInterval()
        )

    async def deliver(self, job_id: UUID, delay_seconds: float) -> None:
        """Have the job polled after the delay; one that is delivered already stays as it is.

        Raises `RedisDown`.
        """
        await self._parcels.send_and_wait(Delivery(job_id, Lane.POLL, int(delay_seconds * 1000)))

    async def _deliver(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        await self._delivery_queue.deliver(deliveries)
        return [None] * len(deliveries)
