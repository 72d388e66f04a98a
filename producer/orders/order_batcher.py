"""Groups single orders of one account into one insert statement.

Every enqueue locks the row of its account until the commit is on disk. Two hundred callers of one
account with one statement each wait for two hundred commits in a row. Grouped, they wait for two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from producer.accounts.limit_errors import LimitReached, PriorityNotAllowed
from producer.jobs.job_repository import EnqueueResult
from producer.orders.order import Order
from producer.orders.order_enqueuer import OrderEnqueuer
from shared.errors import AccountNotFound, DarkroomError, InsufficientCredits, InvalidRequest

MAX_ORDERS_PER_STATEMENT = 100
_REFUSED_TOGETHER = (
    AccountNotFound,
    InsufficientCredits,
    InvalidRequest,
    LimitReached,
    PriorityNotAllowed,
)
"""Refusals of a whole statement, some orders of which may be possible alone."""

_WaitingOrder = tuple[Order, "asyncio.Future[EnqueueResult]"]


class OrderBatcher:
    """Enqueues single orders, and groups orders that arrive during an insert. One per process.

    The first order of an account is inserted immediately. Orders that arrive during that insert are
    inserted together after it. A single order is never delayed.
    """

    def __init__(self, enqueuer: OrderEnqueuer) -> None:
        self._enqueuer = enqueuer
        self._waiting: dict[str, list[_WaitingOrder]] = {}
        """The orders that arrived during an insert, by account. Every account with an insert in
        progress has an entry."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def enqueue(self, order: Order) -> EnqueueResult:
        """Store the order and deliver its job. Raises the errors of `Producer.enqueue`."""
        self._enqueuer.check_destinations([order])
        waiting = self._waiting.get(order.account_id)
        if waiting is not None:
            result: asyncio.Future[EnqueueResult] = asyncio.get_running_loop().create_future()
            waiting.append((order, result))
            return await result
        self._waiting[order.account_id] = []
        try:
            (enqueued,) = await self._enqueuer.enqueue([order])
        finally:
            self._start_next_batch(order.account_id)
        return enqueued

    def _start_next_batch(self, account_id: str) -> None:
        if not self._waiting[account_id]:
            del self._waiting[account_id]
            return
        task = asyncio.create_task(self._run_batches(account_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_batches(self, account_id: str) -> None:
        try:
            while self._waiting[account_id]:
                batch = self._waiting[account_id][:MAX_ORDERS_PER_STATEMENT]
                del self._waiting[account_id][:MAX_ORDERS_PER_STATEMENT]
                # Skip the orders of callers who have disconnected.
                await self._store([one for one in batch if not one[1].done()])
        finally:
            for _, result in self._waiting.pop(account_id):
                result.cancel()

    async def _store(self, batch: Sequence[_WaitingOrder]) -> None:
        if not batch:
            return
        outcomes: Sequence[EnqueueResult | DarkroomError]
        try:
            outcomes = await self._enqueuer.enqueue_each([order for order, _ in batch])
        except _REFUSED_TOGETHER:
            # Not all of them are possible, but some may be, in the order of arrival.
            outcomes = [await self._enqueue_single(order) for order, _ in batch]
        except DarkroomError as error:
            outcomes = [error] * len(batch)
        except BaseException:
            # A bug, or the process stops. The callers must not wait without end.
            for _, result in batch:
                result.cancel()
            raise
        for (_, result), outcome in zip(batch, outcomes, strict=True):
            if result.done():
                continue
            if isinstance(outcome, EnqueueResult):
                result.set_result(outcome)
            else:
                result.set_exception(outcome)

    async def _enqueue_single(self, order: Order) -> EnqueueResult | DarkroomError:
        try:
            (enqueued,) = await self._enqueuer.enqueue([order])
        except DarkroomError as error:
            return error
        return enqueued
