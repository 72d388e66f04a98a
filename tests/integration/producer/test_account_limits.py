"""What an account may queue and spend in a day is exact, and what is refused leaves nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest

from producer import (
    AccountNotFound,
    DailyLimitReached,
    InvalidRequest,
    Job,
    LimitReached,
    Order,
    PriorityNotAllowed,
    Producer,
    QueueLimitReached,
)
from producer.bulk.job_selection import JobSelection
from producer.doctor.invariant_findings import check_invariants
from shared.adapters.postgres.database import Database
from shared.domain.job import Priority
from tests.integration.producer.client_setup import money, open_account, stored
from tests.support.deployment import text_to_image

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
async def acme(producer: Producer, database: Database) -> AsyncIterator[Database]:
    """An account with 1,000 credits. Its books are right at the end of the test."""
    await open_account(producer, credits=1_000)
    yield database
    broken = [one async for one in check_invariants(database) if not one.ok]
    assert broken == []


def order(**options: Any) -> Order:
    return Order(request=text_to_image(), account_id="acme", **options)  # 6 credits


async def day_credits(database: Database) -> Decimal:
    return await database.pool.fetchval("SELECT day_credits FROM accounts")  # type: ignore[no-any-return]


@pytest.mark.parametrize("how_many", [1, 3])
async def test_orders_beyond_the_queue_limit_are_refused_with_the_numbers_and_nothing_stored(
    producer: Producer, acme: Database, how_many: int
) -> None:
    await producer.set_account_limits("acme", max_queued_jobs=4)
    await producer.enqueue_many([order(), order(run_at=LATER), order(priority="low")])
    await producer.enqueue_many([order()][: how_many % 3])
    before = await stored(acme)
    with pytest.raises(QueueLimitReached) as caught:
        await producer.enqueue_many([order() for _ in range(how_many)])
    error = caught.value
    assert (error.allowed, error.used, error.asked) == (4, 3 + how_many % 3, how_many)
    assert error.retry_after_seconds == 1
    assert "cancel queued ones" in str(error)
    assert await stored(acme) == before


async def test_a_batch_larger_than_the_queue_may_be_is_told_how_many_fit(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits("acme", max_queued_jobs=2)
    with pytest.raises(QueueLimitReached, match="Send at most 2 at once"):
        await producer.enqueue_many([order() for _ in range(5)])
    assert (await stored(acme))["jobs"] == 0
    await producer.set_account_limits("acme", max_queued_jobs=0)
    with pytest.raises(QueueLimitReached):
        await producer.enqueue(text_to_image(), account_id="acme")


async def test_however_many_race_for_the_last_places_in_the_queue_it_is_never_exceeded(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits("acme", max_queued_jobs=7)
    answers = await asyncio.gather(
        *(producer.enqueue(text_to_image(), account_id="acme") for _ in range(12)),
        *(producer.enqueue_many([order() for _ in range(2)]) for _ in range(4)),
        return_exceptions=True,
    )
    assert all(isinstance(one, Job | list | QueueLimitReached) for one in answers)
    assert (await stored(acme))["jobs"] == 7
    assert await money(producer) == (1_000, 42)


async def test_a_place_that_becomes_free_is_used_and_a_raised_limit_at_once(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits("acme", max_queued_jobs=1)
    first = await producer.enqueue(text_to_image(), account_id="acme")
    with pytest.raises(QueueLimitReached):
        await producer.enqueue(text_to_image(), account_id="acme")
    await producer.cancel(first.id)
    await producer.enqueue(text_to_image(), account_id="acme")
    await producer.set_account_limits("acme", max_queued_jobs=None)
    await producer.enqueue_many([order() for _ in range(3)])
    assert (await stored(acme))["jobs"] == 5


async def test_what_an_idempotency_key_names_already_is_never_refused_by_a_limit(
    producer: Producer, acme: Database
) -> None:
    asked = [order(idempotency_key=f"key-{index}", priority="high") for index in range(2)]
    first = await producer.enqueue_many(asked)
    await producer.set_account_limits(
        "acme", max_queued_jobs=0, max_credits_per_day=0, max_priority="low"
    )
    bound = [
        order(idempotency_key=f"key-{index}", priority="high", priority_limit="refuse")
        for index in range(2)
    ]
    for again in (asked, bound, bound[:1]):
        jobs = await producer.enqueue_many(again)
        assert [job.id for job in jobs] == [job.id for job in first][: len(again)]
    with pytest.raises(LimitReached):
        await producer.enqueue_many([*asked, order()])
    assert (await stored(acme))["jobs"] == 2


async def test_the_credits_of_a_day_are_held_to_their_limit_and_failures_give_theirs_back(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits("acme", max_credits_per_day=Decimal("13.5"))
    jobs = await producer.enqueue_many([order(), order()])
    with pytest.raises(DailyLimitReached) as caught:
        await producer.enqueue(text_to_image(), account_id="acme")
    error = caught.value
    assert (error.allowed, error.used, error.asked) == (Decimal("13.5"), 12, 6)
    assert 0 < error.retry_after_seconds <= 86_400
    assert (error.resets_at.hour, error.resets_at.tzinfo) == (0, UTC)
    assert error.resets_at > datetime.now(UTC)
    await producer.cancel(jobs[0].id)
    assert (await producer.balance("acme")).credits_today == 6
    await producer.enqueue(text_to_image(), account_id="acme")
    assert (await stored(acme))["jobs"] == 3


async def test_however_many_race_for_the_credits_of_the_day_they_are_never_exceeded(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits("acme", max_credits_per_day=31)
    answers = await asyncio.gather(
        *(producer.enqueue(text_to_image(), account_id="acme") for _ in range(9)),
        *(producer.enqueue_many([order() for _ in range(2)]) for _ in range(4)),
        return_exceptions=True,
    )
    assert all(isinstance(one, Job | list | DailyLimitReached) for one in answers)
    assert (await stored(acme))["jobs"] == 5
    assert await day_credits(acme) == 30


@pytest.mark.parametrize("how_many", [1, 2])
async def test_a_new_day_counts_from_nothing_and_gives_nothing_back_for_the_day_before(
    producer: Producer, acme: Database, how_many: int
) -> None:
    await producer.set_account_limits("acme", max_credits_per_day=12)
    old = await producer.enqueue_many([order(), order()])
    await acme.pool.execute(
        "UPDATE accounts SET day_started_at = day_started_at - interval '1 day'"
    )
    await acme.pool.execute("UPDATE jobs SET created_at = created_at - interval '1 day'")
    assert (await producer.balance("acme")).credits_today == 0
    await producer.enqueue_many([order() for _ in range(how_many)])
    await producer.cancel(old[0].id)
    assert (await producer.balance("acme")).credits_today == 6 * how_many


@pytest.mark.parametrize("how_many", [1, 2])
async def test_service_keys_get_no_priority_above_the_highest_of_their_account(
    producer: Producer, acme: Database, how_many: int
) -> None:
    for highest in get_args(Priority):
        await _place_every_priority(producer, highest, how_many)
    stored_priorities = await acme.pool.fetch("SELECT DISTINCT priority FROM jobs")
    assert {row["priority"] for row in stored_priorities} == set(get_args(Priority))


async def _place_every_priority(producer: Producer, highest: Priority, how_many: int) -> None:
    priorities: tuple[Priority, ...] = get_args(Priority)
    await producer.set_account_limits("acme", max_priority=highest)
    for asked in priorities:
        allowed = max(asked, highest, key=priorities.index)
        orders = [
            order(priority=asked, priority_limit="lower"),
            *(order(priority=highest, priority_limit="refuse") for _ in range(how_many - 1)),
        ]
        assert (await producer.enqueue_many(orders))[0].priority == allowed
        assert (await producer.enqueue_many([order(priority=asked)]))[0].priority == asked
        refused = [order(priority=asked, priority_limit="refuse") for _ in range(how_many)]
        if allowed == asked:
            assert (await producer.enqueue_many(refused))[0].priority == asked
            continue
        with pytest.raises(PriorityNotAllowed) as caught:
            await producer.enqueue_many(refused)
        assert (caught.value.asked, caught.value.allowed) == (asked, highest)


async def test_a_lowered_priority_is_no_other_request_when_it_is_repeated(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits("acme", max_priority="low")
    asked = order(idempotency_key="k", priority_limit="lower")
    (first,) = await producer.enqueue_many([asked])
    await producer.set_account_limits("acme", max_priority="high")
    (again,) = await producer.enqueue_many([asked])
    assert (first.id, first.priority) == (again.id, "low")


BAD: Mapping[str, tuple[object, ...]] = {
    "weight": (0, 0.009, 1000.1, float("nan"), float("inf"), None, True, "2"),
    "max_open_jobs": (0, -1, 1.5, 2**31, True, "3"),
    "max_queued_jobs": (-1, 0.5, 2**31, False),
    "max_credits_per_day": (-0.01, float("nan"), float("inf"), 10**10, Decimal("NaN"), "7"),
    "max_priority": ("urgent", None, 1),
    "max_jobs": (1,),
}


async def test_every_fault_of_limits_is_named_with_what_is_allowed_and_nothing_changes(
    producer: Producer, acme: Database
) -> None:
    before = await producer.balance("acme")
    for name, values in BAD.items():
        for value in values:
            limits: dict[str, Any] = {name: value, "weight_": 0}
            with pytest.raises(InvalidRequest) as caught:
                await producer.set_account_limits("acme", **limits)
            assert {fault.field for fault in caught.value.faults} == {name, "weight_"}, value
    with pytest.raises(InvalidRequest, match="name at least one limit"):
        await producer.set_account_limits("acme")
    with pytest.raises(AccountNotFound):
        await producer.set_account_limits("nobody", weight=2)
    assert await producer.balance("acme") == before


async def test_only_the_limits_that_are_given_change_and_the_change_names_who_and_why(
    producer: Producer, acme: Database
) -> None:
    await producer.set_account_limits(
        "acme", weight=Decimal("2.5"), max_open_jobs=3, max_queued_jobs=10, max_priority="normal"
    )
    account = await producer.set_account_limits(
        "acme", max_open_jobs=None, max_queued_jobs=10, reason="a quiet week", actor="maria"
    )
    assert account == await producer.balance("acme")
    assert (account.weight, account.max_open_jobs, account.max_queued_jobs) == (2.5, None, 10)
    assert (account.max_credits_per_day, account.max_priority) == (None, "normal")
    (entry, *_) = await producer.billing.audit(limit=1)
    assert (entry["act"], entry["actor"], entry["reason"]) == (
        *("account_limits_changed", "maria", "a quiet week"),
    )
    assert (entry["before"], entry["after"]) == ({"max_open_jobs": 3}, {"max_open_jobs": None})


async def test_of_many_retries_as_many_are_stored_as_fit_into_both_limits(
    producer: Producer, acme: Database
) -> None:
    jobs = await producer.enqueue_many([order(priority="high") for _ in range(6)])
    selection = JobSelection(ids=tuple(job.id for job in jobs))
    await producer.cancel_many(selection)
    await producer.set_account_limits(
        "acme", max_queued_jobs=4, max_credits_per_day=20, max_priority="low"
    )
    result = await producer.retry_many(selection)
    assert len(result.done) == 3
    assert Counter(type(one.error) for one in result.refused) == {
        QueueLimitReached: 2,
        DailyLimitReached: 1,
    }
    assert {one.job.priority for one in result.done} == {"high"}
    again = await producer.retry_many(selection)
    assert {one.id: one.job.id for one in again.done} == {one.id: one.job.id for one in result.done}
    assert len(again.refused) == 3
    assert (await stored(acme))["jobs"] == 9


async def test_a_transaction_of_the_day_before_is_counted_in_no_day(
    producer: Producer, acme: Database
) -> None:
    await acme.pool.execute("UPDATE accounts SET day_started_at = now() + interval '1 minute'")
    (late,) = await producer.enqueue_many([order()])
    assert await day_credits(acme) == 0
    await producer.cancel(late.id)
    assert await day_credits(acme) == 0
