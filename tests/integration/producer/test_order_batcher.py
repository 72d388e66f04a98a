"""Orders that arrive together are inserted together, and each has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from producer import (
    AccountNotFound,
    Actor,
    IdempotencyConflict,
    InsufficientCredits,
    Order,
    Producer,
)
from producer.jobs.job_repository import EnqueueResult
from producer.orders.order_batcher import OrderBatcher
from producer.orders.order_enqueuer import OrderEnqueuer
from shared.adapters.postgres.database import Database
from shared.errors import DarkroomError, PostgresDown, RequestRefused
from tests.support.deployment import text_to_image


class CountingEnqueuer(OrderEnqueuer):
    """An enqueuer that records the number of orders of each statement."""

    batch_sizes: list[int]

    @classmethod
    def over(cls, producer: Producer) -> CountingEnqueuer:
        found = cls(producer.enqueuer.database, producer.enqueuer.delivery_queue)
        object.__setattr__(found, "batch_sizes", [])
        return found

    async def enqueue_each(
        self, orders: Sequence[Order], *, actor: Actor | str | None = None
    ) -> list[EnqueueResult | RequestRefused]:
        self.batch_sizes.append(len(orders))
        return await super().enqueue_each(orders, actor=actor)


@pytest.fixture
async def acme(producer: Producer) -> Producer:
    await producer.billing.create_account("acme")
    await producer.billing.grant("acme", Decimal(60), "for the test")
    return producer


def order(number: int, **changes: object) -> Order:
    values = {"request": text_to_image(f"picture {number}"), "account_id": "acme", **changes}
    return Order(**values)  # type: ignore[arg-type]


async def test_items_that_arrive_meanwhile_are_sent_together(acme: Producer) -> None:
    enqueuer = CountingEnqueuer.over(acme)
    batcher = OrderBatcher(enqueuer)
    enqueued = await asyncio.gather(*(batcher.enqueue(order(number)) for number in range(10)))
    assert [one.job.request["prompt"] for one in enqueued] == [f"picture {n}" for n in range(10)]
    assert enqueuer.batch_sizes == [9]
    assert (await acme.balance("acme")).held == 60


async def test_with_credits_for_some_the_first_orders_get_them(acme: Producer) -> None:
    batcher = OrderBatcher(acme.enqueuer)
    outcomes = await asyncio.gather(
        *(batcher.enqueue(order(number)) for number in range(12)), return_exceptions=True
    )
    assert [isinstance(one, EnqueueResult) for one in outcomes] == [True] * 10 + [False] * 2
    assert all(isinstance(one, InsufficientCredits) for one in outcomes[10:])
    assert (await acme.balance("acme")).held == 60


async def test_one_refusal_does_not_touch_the_others(acme: Producer) -> None:
    batcher = OrderBatcher(acme.enqueuer)
    orders = [
        order(0),
        order(1, idempotency_key="k"),
        order(2, idempotency_key="k"),
        order(1, idempotency_key="k"),
        order(3),
    ]
    outcomes = await asyncio.gather(*map(batcher.enqueue, orders), return_exceptions=True)
    first, made, conflict, again, last = outcomes
    assert isinstance(conflict, IdempotencyConflict)
    assert all(isinstance(one, EnqueueResult) for one in (first, made, again, last))
    assert isinstance(made, EnqueueResult)
    assert isinstance(again, EnqueueResult)
    assert (again.job.id, again.is_new) == (made.job.id, False)


async def test_a_missing_account_delays_no_other_job(acme: Producer) -> None:
    batcher = OrderBatcher(acme.enqueuer)
    orders = [order(number, account_id="nobody") for number in range(3)]
    outcomes = await asyncio.gather(
        *map(batcher.enqueue, [*orders, order(4)]), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [AccountNotFound] * 3 + [EnqueueResult]


async def test_a_waiter_that_leaves_is_not_served(acme: Producer, database: Database) -> None:
    batcher = OrderBatcher(acme.enqueuer)
    tasks = [asyncio.create_task(batcher.enqueue(order(number))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    rows = await database.pool.fetch("SELECT request ->> 'prompt' AS prompt FROM jobs ORDER BY id")
    assert [row["prompt"] for row in rows] == ["picture 0", "picture 2"]


class BrokenEnqueuer(OrderEnqueuer):
    """An enqueuer whose database is down after the first order."""

    async def enqueue_each(
        self, orders: Sequence[Order], *, actor: Actor | str | None = None
    ) -> list[EnqueueResult | RequestRefused]:
        raise PostgresDown("gone")


async def test_an_outage_is_raised_to_every_caller_and_work_continues_afterwards(
    acme: Producer,
) -> None:
    batcher = OrderBatcher(BrokenEnqueuer(acme.enqueuer.database, acme.enqueuer.delivery_queue))
    outcomes = await asyncio.gather(
        *(batcher.enqueue(order(number)) for number in range(4)), return_exceptions=True
    )
    assert isinstance(outcomes[0], EnqueueResult)
    assert all(isinstance(one, DarkroomError) for one in outcomes[1:])
    assert isinstance(await batcher.enqueue(order(5)), EnqueueResult)
