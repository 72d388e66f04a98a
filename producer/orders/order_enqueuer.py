"""Takes orders in: stored and held in Postgres first, then handed to Redis, which may be away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from producer.actor import Actor, actor_name, actor_to_json
from producer.jobs.job_repository import EnqueueResult, JobRepository
from producer.orders.order import Order
from producer.webhook_admin import find_destination_faults
from shared.adapters.concurrency_limit import ConcurrencyLimit
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.postgres.database import Connection, ConnectionQueries, Database
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from shared.domain.job import Job
from shared.errors import Fault, InvalidRequest, RedisDown, RequestRefused

MAX_ORDERS = 10_000
MAX_CONNECTIONS_PER_ACCOUNT = 5
"""Of the ten connections of a process."""


@dataclass(frozen=True, slots=True)
class OrderEnqueuer:
    """The way in of every job, whoever asks."""

    database: Database
    delivery_queue: DeliveryQueue
    webhooks_allow_loopback: bool = False
    """For development: webhooks may go to this machine."""
    shares: ConcurrencyLimit = field(
        default_factory=lambda: ConcurrencyLimit(MAX_CONNECTIONS_PER_ACCOUNT)
    )
    """How many of the connections each account has at once."""

    async def enqueue(
        self,
        orders: Sequence[Order],
        *,
        connection: Connection | None = None,
        actor: Actor | str | None = None,
    ) -> list[EnqueueResult]:
        """Store up to 10,000 orders, all or none, in the order given; raises as `enqueue` does.

        `actor` is noted with orders that retry a job.
        """
        if len(orders) > MAX_ORDERS:
            raise InvalidRequest(
                [Fault("orders", f"{len(orders)} were given; at most {MAX_ORDERS} at once")]
            )
        if not orders:
            return []
        self.check_destinations(orders)
        if connection is not None:
            return await self._enqueue_in_transaction(orders, connection)
        # An account whose row is held has a part of the connections, and never all of them.
        async with self.shares.hold({order.account_id for order in orders}):
            if len(orders) == 1 and actor is None:
                enqueued = await JobRepository(self.database).insert(orders)
            else:
                async with self.database.transaction() as queries:
                    if actor is not None:
                        await queries.fetch("say_who", actor_to_json(actor), actor_name(actor))
                    enqueued = await JobRepository(queries).insert(orders)
        await self._deliver(enqueued)
        return enqueued

    async def enqueue_each(self, orders: Sequence[Order]) -> list[EnqueueResult | RequestRefused]:
        """Store checked orders together, each with its own outcome.

        See `JobRepository.insert_each`.
        """
        outcomes = await JobRepository(self.database).insert_each(orders)
        await self._deliver([one for one in outcomes if isinstance(one, EnqueueResult)])
        return outcomes

    def check_destinations(self, orders: Sequence[Order]) -> None:
        """Raise `InvalidRequest` where a webhook would go where it must not."""
        faults = find_destination_faults(orders, allow_loopback=self.webhooks_allow_loopback)
        if faults:
            raise InvalidRequest(faults)

    async def _enqueue_in_transaction(
        self, orders: Sequence[Order], connection: Connection
    ) -> list[EnqueueResult]:
        async with ConnectionQueries(connection).transaction() as queries:
            enqueued = await JobRepository(queries).insert(orders)
            # Only Postgres knows when the caller commits, so it tells the workers itself.
            await queries.fetch("notify_dispatch")
        return enqueued

    async def _deliver(self, enqueued: Sequence[EnqueueResult]) -> None:
        await self.deliver(
            [
                Delivery(one.job.id, Lane.SUBMIT, _delay_ms(one.job))
                for one in enqueued
                if one.is_new
            ]
        )

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver these; where Redis is away, they wait in Postgres for the reconciler."""
        if not deliveries:
            return
        try:
            changes = [Change(delivery.job_id) for delivery in deliveries]
            await self.delivery_queue.deliver(deliveries, changes=changes)
        except RedisDown as error:
            incidents.record_outage(error, doing="deliver_jobs")
        else:
            incidents.record_recovery(REDIS)


def _delay_ms(job: Job) -> int:
    """Return after how long a new job is due: both moments are Postgres's."""
    return int((job.due_at - job.created_at) / timedelta(milliseconds=1))
