"""Stores single orders that arrive together in one statement, so that a busy account is no queue.

Every enqueue of one account takes the lock on its row until its commit is on disk. Two hundred
callers of one account, one statement each, would wait for two hundred commits in a row; here they
wait for two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from producer.jobs.job_repository import Entered
from producer.orders.order import Order
from producer.orders.order_enqueuer import Intake
from shared.errors import AccountNotFound, DarkroomError, InsufficientCredits

MOST_TOGETHER = 100

_Waiting = tuple[Order, "asyncio.Future[Entered]"]


class OrderQueue:
    """Places orders one by one, or together with those that came meanwhile. One per process.

    The first of an account is stored at once. Those that come while it is being stored wait for
    it and then go together, so nothing is delayed while there is nobody to wait for.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._waiting: dict[str, list[_Waiting]] = {}
        """Per account that is being stored for, who came meanwhile."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def place(self, order: Order) -> Entered:
        """Store the order and deliver it. Raises as `Producer.enqueue` does."""
        self._intake.check([order])
        waiting = self._waiting.get(order.account_id)
        if waiting is not None:
            place: asyncio.Future[Entered] = asyncio.get_running_loop().create_future()
            waiting.append((order, place))
            return await place
        self._waiting[order.account_id] = []
        try:
            (entered,) = await self._intake.enter([order])
        finally:
            self._serve_next(order.account_id)
        return entered

    def _serve_next(self, account_id: str) -> None:
        if not self._waiting[account_id]:
            del self._waiting[account_id]
            return
        task = asyncio.create_task(self._serve(account_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, account_id: str) -> None:
        try:
            while self._waiting[account_id]:
                taken = self._waiting[account_id][:MOST_TOGETHER]
                del self._waiting[account_id][:MOST_TOGETHER]
                # Who has left meanwhile is not served.
                await self._store([one for one in taken if not one[1].done()])
        finally:
            for _, place in self._waiting.pop(account_id):
                place.cancel()

    async def _store(self, taken: Sequence[_Waiting]) -> None:
        if not taken:
            return
        outcomes: Sequence[Entered | DarkroomError]
        try:
            outcomes = await self._intake.enter_each([order for order, _ in taken])
        except (InsufficientCredits, AccountNotFound):
            # There is no room for all of them; there may be for some, in the order they came.
            outcomes = [await self._store_alone(order) for order, _ in taken]
        except DarkroomError as error:
            outcomes = [error] * len(taken)
        except BaseException:
            # A bug, or the end of the process: whoever waits must not do so for ever.
            for _, place in taken:
                place.cancel()
            raise
        for (_, place), outcome in zip(taken, outcomes, strict=True):
            if place.done():
                continue
            if isinstance(outcome, Entered):
                place.set_result(outcome)
            else:
                place.set_exception(outcome)

    async def _store_alone(self, order: Order) -> Entered | DarkroomError:
        try:
            (entered,) = await self._intake.enter([order])
        except DarkroomError as error:
            return error
        return entered
