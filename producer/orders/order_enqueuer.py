"""Enqueues orders: checks them, stores them with holds in Postgres, delivers them to Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from producer.actor import Actor, actor_name, actor_to_json
from producer.jobs.job_repository import EnqueueResult, JobRepository
from producer.orders.argument_types import describe_type
from producer.orders.order import Order
from producer.orders.route_check import RouteCheck
from producer.webhooks.webhook_admin import find_destination_faults
from shared.adapters.concurrency_limit import ConcurrencyLimit
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.postgres.database import Connection, ConnectionQueries, Database
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from shared.domain.allowed_receivers import NO_RECEIVERS, AllowedReceivers
from shared.domain.public_addresses import find_url_fault
from shared.errors import Fault, InvalidRequest, RedisDown, RequestRefused

MAX_ORDERS = 10_000
MAX_CONNECTIONS_PER_ACCOUNT = 5
"""The most connections that one account uses, of the ten of a process."""


@dataclass(frozen=True, slots=True)
class OrderEnqueuer:
    """Enqueues every job, for the Python client and for the HTTP API."""

    database: Database
    delivery_queue: DeliveryQueue
    webhooks_allow_loopback: bool = False
    """Whether webhooks may be sent to this machine, for development."""
    webhook_receivers: AllowedReceivers = NO_RECEIVERS
    """The receivers in one's own network to which webhooks may be sent."""
    routes: RouteCheck = field(init=False)
    """Refuses orders that the route of their model cannot carry."""
    shares: ConcurrencyLimit = field(
        default_factory=lambda: ConcurrencyLimit(MAX_CONNECTIONS_PER_ACCOUNT)
    )
    """Limits the connections that each account uses."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "routes", RouteCheck(self.database))

    async def enqueue(
        self,
        orders: Sequence[Order],
        *,
        connection: Connection | None = None,
        actor: Actor | str | None = None,
    ) -> list[EnqueueResult]:
        """Store up to 10,000 orders, all or none, and return the results in the same order.

        The audit entries of orders that retry a job name `actor`. Raises the errors of
        `Producer.enqueue`.
        """
        if len(orders) > MAX_ORDERS:
            raise InvalidRequest(
                [Fault("orders", f"{len(orders)} were given; at most {MAX_ORDERS} at once")]
            )
        if not orders:
            return []
        self.check_destinations(orders)
        await self.routes.require_carried(orders)
        if connection is not None:
            return await self._enqueue_in_transaction(orders, connection)
        # An account whose row is locked must not use all connections of the process.
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

    async def enqueue_each(
        self, orders: Sequence[Order], *, actor: Actor | str | None = None
    ) -> list[EnqueueResult | RequestRefused]:
        """Store checked orders together, each with its own outcome.

        See `JobRepository.insert_each`. The audit entries of retries name `actor`.
        """
        refusals = await self.routes.find_refusals(orders)
        carried = [order for index, order in enumerate(orders) if index not in refusals]
        if not carried:
            return [refusals[index] for index in range(len(orders))]
        if actor is None:
            outcomes = await JobRepository(self.database).insert_each(carried)
        else:
            async with self.database.transaction() as queries:
                await queries.fetch("say_who", actor_to_json(actor), actor_name(actor))
                outcomes = await JobRepository(queries).insert_each(carried)
        await self._deliver([one for one in outcomes if isinstance(one, EnqueueResult)])
        stored = iter(outcomes)
        return [
            refusals[index] if index in refusals else next(stored) for index in range(len(orders))
        ]

    def find_destination_fault(self, url: str) -> str | None:
        """Return a sentence about a webhook URL to which nothing may be sent, or None."""
        return find_url_fault(
            url, allow_loopback=self.webhooks_allow_loopback, receivers=self.webhook_receivers
        )

    def build_order(self, **fields: Any) -> Order:
        """Return the order of these fields.

        Raises `InvalidRequest` with every fault, that of the webhook's destination included.
        """
        try:
            return Order(**fields)
        except InvalidRequest as refused:
            url = fields.get("webhook_url")
            is_named = any(fault.field == "webhook_url" for fault in refused.faults)
            sentence = None
            if isinstance(url, str) and not is_named:
                sentence = self.find_destination_fault(url)
            more = [Fault("webhook_url", sentence)] if sentence is not None else []
            raise InvalidRequest([*refused.faults, *more]) from None

    def check_destinations(self, orders: Sequence[Order]) -> None:
        """Raise `InvalidRequest` for webhook URLs that are not allowed."""
        faults = find_destination_faults(
            orders,
            allow_loopback=self.webhooks_allow_loopback,
            receivers=self.webhook_receivers,
        )
        if faults:
            raise InvalidRequest(faults)

    async def _enqueue_in_transaction(
        self, orders: Sequence[Order], connection: Connection
    ) -> list[EnqueueResult]:
        if not (hasattr(connection, "fetch") and hasattr(connection, "transaction")):
            sentence = f"is {describe_type(connection)}; give a connection of asyncpg"
            raise InvalidRequest([Fault("connection", sentence)])
        async with ConnectionQueries(connection).transaction() as queries:
            enqueued = await JobRepository(queries).insert(orders)
            # Only Postgres knows when the caller commits, so it notifies the workers.
            await queries.fetch("notify_dispatch")
        return enqueued

    async def _deliver(self, enqueued: Sequence[EnqueueResult]) -> None:
        """Deliver the chosen jobs, and wake the workers for those that wait.

        If Redis is down, the workers find both by themselves.
        """
        new = [one for one in enqueued if one.is_new]
        if not new:
            return
        await self.deliver(
            [Delivery(one.job.id, Lane.SUBMIT) for one in new if one.is_chosen],
            changes=[Change(one.job.id) for one in new],
            others_wait=not all(one.is_chosen for one in new),
        )

    async def deliver(
        self,
        deliveries: Sequence[Delivery],
        *,
        changes: Sequence[Change] = (),
        others_wait: bool = False,
    ) -> None:
        """Send the deliveries to Redis. If Redis is down, the reconciler sends them later."""
        try:
            await self.delivery_queue.deliver(deliveries, changes=changes, others_wait=others_wait)
        except RedisDown as error:
            incidents.record_outage(error, doing="deliver_jobs")
        else:
            incidents.record_recovery(REDIS)
