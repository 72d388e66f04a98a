"""The job that an enqueue returns equals the stored one, without reading it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import deserialize_job
from uuid_utils.compat import uuid7

from producer import Job, Order, Producer
from producer.doctor import check_invariants
from shared.adapters.postgres.database import Database
from shared.adapters.redis.change_messages import Change, decode_changes
from shared.adapters.redis.deliveries import (
    DELIVERIES_PER_SCRIPT,
    PAYLOAD_TTL_MS,
    Delivery,
    DeliveryQueue,
    Lane,
    deserialize,
    local_now_ms,
)
from shared.adapters.redis.subscription import subscribed
from shared.adapters.servers import Servers
from shared.domain.job import copy_estimate
from shared.job_json import job_to_json
from shared.redis_keys import CHANGES_CHANNEL, WAKE_UP_CHANNEL
from tests.integration.producer.client_setup import callers_connection, open_account
from tests.support.deployment import image_to_image, text_to_image

NOON = datetime(2031, 5, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
ODD_ORDERS: list[dict[str, Any]] = [
    {},
    {"run_at": datetime.now(NOON.tzinfo) + timedelta(days=30)},
    {
        "idempotency_key": "order-1",
        "priority": "low",
        "webhook_url": "https://shop.example/hook?a=b",
    },
    {"metadata": {"b": 1, "a": [None, True, {"é": "😀"}], "longer": 0.1, "": -0.0, "big": 2**63}},
    {"metadata": {"huge": 1e300, "tiny": 1e-300, "moment": NOON, "pair": (1, 2), "whole": 1e16}},
    {"request": image_to_image(quantity=4, mask_url="https://shop.example/mask.png")},
]


def orders() -> list[Order]:
    return [
        Order(**{"request": text_to_image(prompt='a \\ " lighthouse'), "account_id": "acme", **odd})
        for odd in ODD_ORDERS
    ]


async def check(producer: Producer, jobs: Sequence[Job]) -> None:
    """Check that the jobs are, value by value, what Postgres has."""
    for job in jobs:
        read = await producer.get(job.id)
        assert read == job
        assert type(job.id) is type(read.id) is UUID
        assert job.run_at.tzinfo is job.due_at.tzinfo is UTC


async def test_a_single_job_is_returned_as_it_is_stored(producer: Producer) -> None:
    await open_account(producer)
    await check(producer, [(await producer.enqueue_many([order]))[0] for order in orders()])


async def test_a_batch_is_returned_as_it_is_stored(producer: Producer) -> None:
    await open_account(producer)
    await check(producer, await producer.enqueue_many(orders()))


async def test_inside_a_callers_transaction_jobs_are_returned_as_they_are_stored(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    async with callers_connection(servers) as connection:
        async with connection.transaction():
            many = await producer.enqueue_many(orders()[:1] + orders()[3:], connection=connection)
            one = (await producer.enqueue_many(orders()[2:3], connection=connection))[0]
        await check(producer, [*many, one])


async def test_changing_what_was_handed_in_does_not_change_the_job(producer: Producer) -> None:
    await open_account(producer)
    notes = {"tags": ["a"]}
    job = await producer.enqueue(text_to_image(), account_id="acme", metadata=notes)
    notes["tags"].append("b")
    assert job.metadata == {"tags": ["a"]}


# --- deliveries -----------------------------------------------------------------------------


@pytest.fixture
async def delivery_queue(redis: ArqRedis) -> DeliveryQueue:
    await redis.flushall()
    return DeliveryQueue(redis)


async def redis_ms(redis: ArqRedis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def payload_of(redis: ArqRedis, delivery: Delivery) -> tuple[str, tuple[Any, ...], int]:
    raw = await redis.get(job_key_prefix + delivery.lane.arq_id(delivery.job_id))
    assert raw is not None
    told = deserialize_job(raw, deserializer=deserialize)
    assert (told.kwargs, told.job_try) == ({}, None)
    return told.function, tuple(told.args), round(told.enqueue_time.timestamp() * 1000)


async def test_deliveries_of_several_lanes_and_times_are_sent_together(
    delivery_queue: DeliveryQueue, redis: ArqRedis
) -> None:
    now = local_now_ms()
    before_ms = await redis_ms(redis)
    deliveries = [
        Delivery(uuid7(), lane, delay_ms) for lane in Lane for delay_ms in (0, 3_600_000, -5_000)
    ]
    await delivery_queue.deliver(deliveries)
    for delivery in deliveries:
        arq_id = delivery.lane.arq_id(delivery.job_id)
        score = await redis.zscore(delivery.lane.value, arq_id)
        assert score is not None
        assert before_ms <= score - delivery.delay_ms <= await redis_ms(redis)
        function, args, enqueued_ms = await payload_of(redis, delivery)
        assert (function, args) == (delivery.lane.function, (str(delivery.job_id),))
        assert now <= enqueued_ms <= local_now_ms()
        left_ms = await redis.pttl(job_key_prefix + arq_id)
        assert 0 <= PAYLOAD_TTL_MS + max(delivery.delay_ms, 0) - left_ms < 60_000


async def test_more_than_a_page_is_delivered_whole(
    delivery_queue: DeliveryQueue, redis: ArqRedis
) -> None:
    count = 2 * DELIVERIES_PER_SCRIPT + 3
    deliveries = [Delivery(uuid7(), Lane.POLL, 1_000) for _ in range(count)]
    async with subscribed(redis, CHANGES_CHANNEL) as messages:
        changes = [Change(delivery.job_id) for delivery in deliveries]
        await delivery_queue.deliver(deliveries, changes=changes)
        received: list[Change] = []
        while len(received) < count:
            received += decode_changes(await anext(messages))
    assert received == changes
    assert await redis.zcard(Lane.POLL.value) == count
    assert len(await redis.keys(f"{job_key_prefix}poll:*")) == count


async def test_what_is_delivered_already_stays_as_it_is(
    delivery_queue: DeliveryQueue, redis: ArqRedis
) -> None:
    first = Delivery(uuid7(), Lane.SUBMIT, 5_000)
    await delivery_queue.deliver([first])
    before = await payload_of(redis, first)
    later = [Delivery(first.job_id, Lane.SUBMIT, 9_000), Delivery(uuid7(), Lane.SUBMIT, 9_000)]
    await delivery_queue.deliver(later)
    now = await redis_ms(redis)
    due_ms = [
        float(await redis.zscore(Lane.SUBMIT.value, Lane.SUBMIT.arq_id(one.job_id)) or 0) - now
        for one in later
    ]
    assert due_ms == [pytest.approx(5_000, abs=3_000), pytest.approx(9_000, abs=900)]
    assert due_ms[0] < 5_001
    assert await payload_of(redis, first) == before


async def test_a_redis_that_has_lost_the_script_is_sent_it_again(
    delivery_queue: DeliveryQueue, redis: ArqRedis
) -> None:
    await delivery_queue.deliver([Delivery(uuid7(), Lane.POLL, 1_000)])
    await redis.script_flush()
    await delivery_queue.deliver([Delivery(uuid7(), Lane.POLL, 1_000)])
    assert await redis.zcard(Lane.POLL.value) == 2


async def test_the_lanes_are_called_for_what_is_due_and_for_the_first_of_a_queue(
    delivery_queue: DeliveryQueue, redis: ArqRedis
) -> None:
    async with subscribed(redis, WAKE_UP_CHANNEL) as messages:
        ids = [uuid7() for _ in range(30)]
        await delivery_queue.deliver([Delivery(one, Lane.POLL, 60_000) for one in ids])
        # The first ids are told, so that a claim can declare their keys.
        told = [Lane.POLL.arq_id(one) for one in ids[:20]]
        assert (await anext(messages)).split() == ["darkroom:poll", *told]
        await delivery_queue.deliver([Delivery(uuid7(), Lane.POLL, 50_000)])
        # Messages keep their order: had the delivery above said something, it would come first.
        await redis.publish(WAKE_UP_CHANNEL, "mark")
        assert await anext(messages) == "mark"
        await delivery_queue.deliver([Delivery(ids[0], Lane.WEBHOOK)])
        assert await anext(messages) == f"darkroom:webhook webhook:{ids[0]}"
        await delivery_queue.deliver([Delivery(ids[1], lane) for lane in Lane])
        # A claim for the webhook that waits already finds the new one as well.
        words = f"darkroom:submit submit:{ids[1]} darkroom:poll poll:{ids[1]}"
        assert await anext(messages) == words
        await delivery_queue.make_due_now(ids[2], Lane.POLL)
        assert await anext(messages) == f"darkroom:poll poll:{ids[2]}"


async def test_what_is_returned_is_to_the_letter_what_is_read_later(producer: Producer) -> None:
    await open_account(producer)
    request = text_to_image(quantity=4, fallback_model="FLUX_MAX", enhance_prompt=True)
    for metadata in ({}, {"longer": 1e16, "b": [1e-7, {"zz": 1, "y": 2}], "a": 1e22}):
        job = await producer.enqueue(request, account_id="acme", metadata=metadata)
        (batched,) = await producer.enqueue_many(
            [Order(request=request, account_id="acme", metadata=metadata)]
        )
        for enqueued in (job, batched):
            # Which of its jobs is chosen first is known only after a read.
            read = copy_estimate(enqueued, to=await producer.get(enqueued.id))
            assert orjson.dumps(job_to_json(enqueued)) == orjson.dumps(job_to_json(read))


async def test_a_batch_over_thousands_of_accounts_is_stored_within_the_limit_of_a_statement(
    producer: Producer, database: Database
) -> None:
    accounts = [f"one-of-many-{number}" for number in range(10_000)]
    async with database.pool.acquire() as connection:
        await connection.execute("INSERT INTO accounts (id) SELECT unnest($1::text[])", accounts)
        # In parts, each of which is far within the limit itself.
        for first in range(0, len(accounts), 1_000):
            await connection.execute(
                "SELECT grant_credits(id, 100, 'for the test') FROM unnest($1::text[]) AS id",
                accounts[first : first + 1_000],
            )
    # Where each is compared with each, a statement takes longer than it may.
    orders = [Order(request=text_to_image(), account_id=owner) for owner in reversed(accounts)]
    assert len(await producer.enqueue_many(orders)) == 10_000
    held = await database.pool.fetch("SELECT held, count(*) FROM accounts GROUP BY held")
    assert [tuple(row) for row in held] == [(6, 10_000)]
    assert not [one.name async for one in check_invariants(database) if not one.ok]
