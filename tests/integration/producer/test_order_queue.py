"""Orders that arrive together go together, and each still has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from producer import (
    AccountNotFound,
    IdempotencyConflict,
    InsufficientCredits,
    Order,
    Producer,
)
from producer.jobs.job_repository import Entered
from producer.orders.order_batcher import OrderQueue
from producer.orders.order_enqueuer import Intake
from shared.adapters.postgres.database import Database
from shared.errors import DarkroomError, PostgresDown, RequestRefused
from tests.support.deployment import text_to_image


class CountingIntake(Intake):
    """An intake that notes how many orders each of its statements took."""

    taken: list[int]

    @classmethod
    def over(cls, producer: Producer) -> CountingIntake:
        found = cls(producer.intake.database, producer.intake.delivery_queue)
        object.__setattr__(found, "taken", [])
        return found

    async def enter_each(self, orders: Sequence[Order]) -> list[Entered | RequestRefused]:
        self.taken.append(len(orders))
        return await super().enter_each(orders)


@pytest.fixture
async def acme(producer: Producer) -> Producer:
    await producer.till.create_account("acme")
    await producer.till.grant("acme", Decimal(60), "for the test")
    return producer


def order(number: int, **changes: object) -> Order:
    values = {"request": text_to_image(f"picture {number}"), "account_id": "acme", **changes}
    return Order(**values)  # type: ignore[arg-type]


async def test_those_who_come_meanwhile_go_together(acme: Producer) -> None:
    intake = CountingIntake.over(acme)
    queue = OrderQueue(intake)
    entered = await asyncio.gather(*(queue.place(order(number)) for number in range(10)))
    assert [one.job.request["prompt"] for one in entered] == [f"picture {n}" for n in range(10)]
    assert intake.taken == [9]
    assert (await acme.balance("acme")).held == 60


async def test_with_room_for_some_the_first_get_it(acme: Producer) -> None:
    queue = OrderQueue(acme.intake)
    outcomes = await asyncio.gather(
        *(queue.place(order(number)) for number in range(12)), return_exceptions=True
    )
    assert [isinstance(one, Entered) for one in outcomes] == [True] * 10 + [False] * 2
    assert all(isinstance(one, InsufficientCredits) for one in outcomes[10:])
    assert (await acme.balance("acme")).held == 60


async def test_one_refusal_does_not_touch_the_others(acme: Producer) -> None:
    queue = OrderQueue(acme.intake)
    orders = [
        order(0),
        order(1, idempotency_key="k"),
        order(2, idempotency_key="k"),
        order(1, idempotency_key="k"),
        order(3),
    ]
    outcomes = await asyncio.gather(*map(queue.place, orders), return_exceptions=True)
    first, made, conflict, again, last = outcomes
    assert isinstance(conflict, IdempotencyConflict)
    assert all(isinstance(one, Entered) for one in (first, made, again, last))
    assert isinstance(made, Entered)
    assert isinstance(again, Entered)
    assert (again.job.id, again.is_new) == (made.job.id, False)


async def test_an_account_that_is_not_there_holds_up_nobody(acme: Producer) -> None:
    queue = OrderQueue(acme.intake)
    orders = [order(number, account_id="nobody") for number in range(3)]
    outcomes = await asyncio.gather(*map(queue.place, [*orders, order(4)]), return_exceptions=True)
    assert [type(one) for one in outcomes] == [AccountNotFound] * 3 + [Entered]


async def test_whoever_leaves_while_waiting_is_not_served(
    acme: Producer, database: Database
) -> None:
    queue = OrderQueue(acme.intake)
    tasks = [asyncio.create_task(queue.place(order(number))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    rows = await database.pool.fetch("SELECT request ->> 'prompt' AS prompt FROM jobs ORDER BY id")
    assert [row["prompt"] for row in rows] == ["picture 0", "picture 2"]


class BrokenIntake(Intake):
    """An intake whose database goes away after the first order."""

    async def enter_each(self, orders: Sequence[Order]) -> list[Entered | RequestRefused]:
        raise PostgresDown("gone")


async def test_an_outage_is_told_to_everybody_and_then_it_goes_on(acme: Producer) -> None:
    queue = OrderQueue(BrokenIntake(acme.intake.database, acme.intake.delivery_queue))
    outcomes = await asyncio.gather(
        *(queue.place(order(number)) for number in range(4)), return_exceptions=True
    )
    assert isinstance(outcomes[0], Entered)
    assert all(isinstance(one, DarkroomError) for one in outcomes[1:])
    assert isinstance(await queue.place(order(5)), Entered)
