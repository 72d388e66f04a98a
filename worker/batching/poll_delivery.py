"""Delivers the polls of new tasks: those that come together in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from shared.adapters.redis.deliveries import Delivery, Lane, Parcel
from worker.batching.micro_batch import Gathering, Tempo


class PollDeliveries:
    """The way from the submit step to the poll lane."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        # The first poll of a task is seconds away: it can wait for the beat.
        self._parcels: Gathering[Parcel, None] = Gathering(self._deliver, tempo=Tempo())

    async def deliver(self, job_id: UUID, delay_seconds: float) -> None:
        """Have the job polled after the delay; one that is delivered already stays as it is.

        Raises `RedisDown`.
        """
        await self._parcels.ask(Parcel(job_id, Lane.POLL, int(delay_seconds * 1000)))

    async def _deliver(self, parcels: Sequence[Parcel]) -> Sequence[None]:
        await self._delivery.deliver(parcels)
        return [None] * len(parcels)
