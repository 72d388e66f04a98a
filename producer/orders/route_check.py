"""Refuses orders that the route in force for their model cannot carry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from producer.orders.order import Order
from shared.adapters.async_tasks import stop_tasks
from shared.adapters.postgres.database import Queries
from shared.catalog import carry_request, list_routes
from shared.errors import DarkroomError, Fault, InvalidRequest

MAX_AGE_SECONDS = 5.0
"""How long the routes that were read are used. An order that comes between a change and the next
read is stored. If its route cannot carry it, its job waits."""


class RouteCheck:
    """The check of one process. Reads the routes at most once in five seconds.

    An order that every route can carry never waits for this read.
    """

    def __init__(
        self, queries: Queries, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._queries = queries
        self._monotonic = monotonic
        self._routes: Mapping[str, str] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._background_read: asyncio.Task[None] | None = None

    async def find_refusals(self, orders: Sequence[Order]) -> dict[int, InvalidRequest]:
        """Return why orders cannot be sent, by their index. Raises `PostgresDown`.

        An order that was enqueued before, by its idempotency key or as a retry, is not refused.
        """
        refusals: dict[int, InvalidRequest] = {}
        for index, order in enumerate(orders):
            if not list_routes(order.request.model) or self._is_carried(order):
                continue
            refusal = _refusal(order, (await self._read_routes()).get(order.request.model))
            if refusal is not None and not await self._is_known(order):
                refusals[index] = refusal
        return refusals

    async def require_carried(self, orders: Sequence[Order]) -> None:
        """Raise `InvalidRequest` with the faults of all orders that cannot be sent.

        The field of a fault is `jobs.<index>.<field>` if there are several orders.
        """
        refusals = await self.find_refusals(orders)
        faults = [
            fault if len(orders) == 1 else Fault(f"jobs.{index}.{fault.field}", fault.message)
            for index, refusal in refusals.items()
            for fault in refusal.faults
        ]
        if faults:
            raise InvalidRequest(faults)

    def forget(self) -> None:
        """Forget what was read: this process has changed a route."""
        self._read_at = float("-inf")

    async def close(self) -> None:
        """Stop a read in the background, before the connections are closed."""
        if self._background_read is not None:
            await stop_tasks([self._background_read])

    def _is_carried(self, order: Order) -> bool:
        """Return whether the order is carried for certain, so that the routes need not be read."""
        if self._is_fresh():
            return order.request.model not in self._routes
        is_carried = all(_refusal(order, one) is None for one in list_routes(order.request.model))
        if is_carried and (self._background_read is None or self._background_read.done()):
            # The next orders are compared with what is read: that costs less.
            self._background_read = asyncio.create_task(self._read_in_background())
        return is_carried

    async def _read_in_background(self) -> None:
        with suppress(DarkroomError):  # an order that needs the routes raises it
            await self._read_routes()

    async def _read_routes(self) -> Mapping[str, str]:
        async with self._reading:
            if not self._is_fresh():
                rows = await self._queries.fetch("newest_routes")
                self._routes = {
                    row["model"]: row["via"] for row in rows if row["via"] != row["model"]
                }
                self._read_at = self._monotonic()
        return self._routes

    def _is_fresh(self) -> bool:
        return self._monotonic() - self._read_at < MAX_AGE_SECONDS

    async def _is_known(self, order: Order) -> bool:
        row = None
        if order.idempotency_key is not None:
            row = await self._queries.fetch_row(
                "find_by_idempotency_key", order.account_id, order.idempotency_key
            )
        if row is None and order.retry_of is not None:
            row = await self._queries.fetch_row("find_retry", order.retry_of)
        return row is not None


def _refusal(order: Order, route: str | None) -> InvalidRequest | None:
    if route is None or route not in list_routes(order.request.model):
        return None
    try:
        carry_request(order.request, route)
    except InvalidRequest as error:
        return error
    return None
