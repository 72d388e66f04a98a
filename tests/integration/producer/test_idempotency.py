"""Idempotency keys: the same key of the same account is the same job, for the same request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from producer import IdempotencyConflict, InsufficientCredits, JobState, Order, Producer
from shared.adapters.postgres.database import Database
from tests.integration.producer.client_setup import money, open_account, stored
from tests.support.deployment import image_to_image, text_to_image


def order(prompt: str = "a lighthouse", key: str | None = "k", **options: Any) -> Order:
    values = {"account_id": "acme", "idempotency_key": key, **options}
    return Order(request=text_to_image(prompt), **values)


async def test_the_same_request_again_gives_the_first_job_and_no_second_hold(
    producer: Producer, database: Database
) -> None:
    await open_account(producer, credits=6)
    first = await producer.enqueue(text_to_image(), account_id="acme", idempotency_key="k")
    again = await producer.enqueue(text_to_image(), account_id="acme", idempotency_key="k")
    assert again == first
    assert await money(producer) == (6, 6)
    assert (await stored(database))["jobs"] == 1


async def test_many_identical_requests_at_once_are_one_job_with_one_hold(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    jobs = await asyncio.gather(*(producer.enqueue_many([order()]) for _ in range(30)))
    assert len({job.id for (job,) in jobs}) == 1
    assert await stored(database) == {"jobs": 1, "entries": 2, "events": 1, "held": 6}


async def test_the_first_job_is_given_again_in_whatever_state_it_is(producer: Producer) -> None:
    await open_account(producer)
    (first,) = await producer.enqueue_many([order()])
    await producer.cancel(first.id)
    (again,) = await producer.enqueue_many([order()])
    assert (again.id, again.state) == (first.id, JobState.CANCELLED)


async def test_a_repeat_is_answered_though_the_credits_or_the_price_are_gone(
    producer: Producer, database: Database
) -> None:
    await open_account(producer, credits=6)
    (first,) = await producer.enqueue_many([order()])
    with pytest.raises(InsufficientCredits):
        await producer.enqueue_many([order(key="another")])
    await producer.cancel(first.id)
    await database.pool.execute("SET LOCAL darkroom.confirm = 'yes'; DELETE FROM pricing")
    (again,) = await producer.enqueue_many([order()])
    assert again.id == first.id


async def test_a_different_request_is_a_conflict_that_names_what_differs(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    (first,) = await producer.enqueue_many([order()])
    before = await stored(database)
    for second, differs in (
        (order("a harbour"), ("prompt",)),
        (order(metadata={"order": 2}), ("metadata",)),
        (order(webhook_url="https://shop.example/other"), ("webhook_url",)),
        (order(priority="low"), ("priority",)),
        (
            Order(
                request=text_to_image("a harbour", quantity=2, aspect_ratio="1:1"),
                account_id="acme",
                idempotency_key="k",
            ),
            ("aspect_ratio", "prompt", "quantity"),
        ),
        (
            Order(request=image_to_image(), account_id="acme", idempotency_key="k"),
            ("task", "aspect_ratio", "image_urls", "prompt"),
        ),
    ):
        with pytest.raises(IdempotencyConflict) as caught:
            await producer.enqueue_many([second])
        assert (caught.value.key, caught.value.job_id) == ("k", str(first.id))
        assert caught.value.differs == differs
        assert f"whose request differs in: {', '.join(differs)}" in str(caught.value)
    assert await stored(database) == before


async def test_notes_that_json_has_no_word_for_are_no_difference(producer: Producer) -> None:
    await open_account(producer)
    notes = {
        "at": datetime(2031, 5, 1, tzinfo=UTC),
        "pair": (1, 2),
        "id": UUID(int=7),
        "big": 1e16,
        "none": float("nan"),
    }
    (first,) = await producer.enqueue_many([order(metadata=notes)])
    (again,) = await producer.enqueue_many([order(metadata=notes)])
    assert again == first
    assert first.metadata["at"] == "2031-05-01T00:00:00+00:00"


async def test_a_key_belongs_to_its_account(producer: Producer) -> None:
    await open_account(producer)
    await open_account(producer, "bolt")
    (mine,) = await producer.enqueue_many([order()])
    (other,) = await producer.enqueue_many([order("a harbour", account_id="bolt")])
    assert mine.id != other.id
    assert await money(producer) == await money(producer, "bolt") == (1_000, 6)


async def test_the_same_key_twice_in_one_batch_is_one_job(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    jobs = await producer.enqueue_many([order(), order(key=None), order(), order(key="other")])
    assert jobs[0] == jobs[2]
    assert len({job.id for job in jobs}) == 3
    assert await stored(database) == {"jobs": 3, "entries": 4, "events": 3, "held": 18}
    assert await producer.enqueue_many([order(), order()]) == [jobs[0], jobs[0]]


async def test_the_same_key_for_two_requests_in_one_batch_leaves_nothing(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    with pytest.raises(IdempotencyConflict) as caught:
        await producer.enqueue_many([order(), order(key=None), order("a harbour")])
    assert caught.value.differs == ("prompt",)
    assert (await stored(database))["jobs"] == 0
    assert await money(producer) == (1_000, 0)


async def test_a_batch_that_meets_a_known_key_adds_only_what_is_new(producer: Producer) -> None:
    await open_account(producer)
    (known,) = await producer.enqueue_many([order()])
    jobs = await producer.enqueue_many([order(key="new"), order()])
    assert jobs[1] == known
    assert await money(producer) == (1_000, 12)


async def test_different_requests_racing_for_one_key_give_one_job_and_conflicts(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    answers = await asyncio.gather(
        *(producer.enqueue_many([order(f"picture {n}")]) for n in range(12)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, list) for one in answers) == 1
    assert sum(isinstance(one, IdempotencyConflict) for one in answers) == 11
    assert await stored(database) == {"jobs": 1, "entries": 2, "events": 1, "held": 6}
