"""Delivers the first polls of new tasks, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from worker.batching.micro_batch import BatchInterval, MicroBatch


class PollDeliveryBatch:
    """The first polls that the submit steps of this worker deliver."""

    def __init__(self, delivery_queue: DeliveryQueue) -> None:
        self._delivery_queue = delivery_queue
        # The first poll of a task is seconds away, so its delivery can wait for the interval.
        self._parcels: MicroBatch[Delivery, None] = MicroBatch(
            self._deliver, interval=BatchInterval()
        )

    async def deliver(self, job_id: UUID, delay_seconds: float) -> None:
        """Have the job polled after the delay. A delivery that exists already is left as it is.

        Raises `RedisDown`.
        """
        await self._parcels.send_and_wait(Delivery(job_id, Lane.POLL, int(delay_seconds * 1000)))

    async def _deliver(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        await self._delivery_queue.deliver(deliveries)
        return [None] * len(deliveries)
