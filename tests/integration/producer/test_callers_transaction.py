"""Enqueueing inside the transaction of a caller, on its connection."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from producer import (
    AccountNotFound,
    DarkroomError,
    IdempotencyConflict,
    InsufficientCredits,
    Order,
    PriceMissing,
    Producer,
)
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.servers import Servers
from tests.integration.producer.client_setup import (
    callers_connection,
    is_delivered,
    money,
    open_account,
    stored,
)
from tests.support.deployment import text_to_image


async def test_when_the_caller_commits_the_job_exists_and_workers_are_woken(
    producer: Producer, database: Database, servers: Servers
) -> None:
    await open_account(producer)
    told = asyncio.Event()
    async with callers_connection(servers) as connection, database.pool.acquire() as listener:
        await listener.add_listener("darkroom_dispatch", lambda *_: told.set())
        async with connection.transaction():
            await connection.execute("INSERT INTO orders VALUES (1)")
            job = await producer.enqueue(
                text_to_image(),
                account_id="acme",
                metadata={"order": 1},
                connection=connection,
            )
            assert job.metadata == {"order": 1}
            assert job.request["prompt"] == "a lighthouse"
            assert (await stored(database))["jobs"] == 0
            assert not told.is_set()
        async with asyncio.timeout(10):
            await told.wait()
        await listener.reset()
    assert await producer.get(job.id) == job
    assert await money(producer) == (1_000, 6)


async def test_when_the_caller_rolls_back_there_is_nothing(
    producer: Producer, database: Database, servers: Servers
) -> None:
    await open_account(producer)
    before = await stored(database)
    async with callers_connection(servers) as connection:
        transaction = connection.transaction()
        await transaction.start()
        job = await producer.enqueue(text_to_image(), account_id="acme", connection=connection)
        await transaction.rollback()
    assert await stored(database) == before
    async with connect_redis(servers.redis_url) as redis:
        assert not await is_delivered(DeliveryQueue(redis), job)


@pytest.mark.parametrize(
    ("orders", "error"),
    [
        ([Order(request=text_to_image(), account_id="poor")], InsufficientCredits),
        ([Order(request=text_to_image(), account_id="nobody")], AccountNotFound),
        ([Order(request=text_to_image(quantity=2), account_id="acme")], PriceMissing),
        (
            [Order(request=text_to_image("x"), account_id="acme", idempotency_key="k")],
            IdempotencyConflict,
        ),
        (
            [
                Order(request=text_to_image(), account_id="acme"),
                Order(request=text_to_image(), account_id="nobody"),
            ],
            AccountNotFound,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(len(value)),
)
async def test_a_refused_enqueue_leaves_the_callers_transaction_usable(
    producer: Producer,
    database: Database,
    servers: Servers,
    orders: list[Order],
    error: type[DarkroomError],
) -> None:
    await open_account(producer)
    await open_account(producer, "poor", 5)
    await producer.enqueue(text_to_image(), account_id="acme", idempotency_key="k")
    await database.pool.execute("DELETE FROM pricing WHERE task = 'text-to-image' AND quantity = 2")
    before = await stored(database)
    async with callers_connection(servers) as connection:
        async with connection.transaction():
            await connection.execute("INSERT INTO orders VALUES (1)")
            with pytest.raises(error):
                await producer.enqueue_many(orders, connection=connection)
            await connection.execute("INSERT INTO orders VALUES (2)")
        assert await connection.fetchval("SELECT count(*) FROM orders") == 2
    assert await stored(database) == before


async def test_a_job_may_be_enqueued_after_a_refused_one_in_the_same_transaction(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer, credits=6)
    async with callers_connection(servers) as connection, connection.transaction():
        with pytest.raises(InsufficientCredits):
            await producer.enqueue(
                text_to_image(quantity=4), account_id="acme", connection=connection
            )
        await producer.enqueue(text_to_image(), account_id="acme", connection=connection)
    assert await money(producer) == (6, 6)


async def test_the_callers_connection_reads_json_as_it_did_before(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    async with callers_connection(servers) as connection:
        await connection.execute("""INSERT INTO orders VALUES (1, '{"a": 1}')""")
        await producer.enqueue(text_to_image(), account_id="acme", connection=connection)
        assert await connection.fetchval("SELECT note FROM orders") == '{"a": 1}'
        await connection.execute("UPDATE orders SET note = $1", '{"b": 2}')
        assert await connection.fetchval("SELECT note FROM orders") == '{"b": 2}'


async def test_a_connection_with_its_own_json_codec_keeps_it(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    async with callers_connection(servers) as connection:
        await connection.set_type_codec(
            "jsonb",
            schema="pg_catalog",
            encoder=json.dumps,
            decoder=lambda text: {"decoded": True, **json.loads(text)},
        )
        job = await producer.enqueue(
            text_to_image(), account_id="acme", metadata={"order": 1}, connection=connection
        )
        assert job.metadata["order"] == 1
        await connection.execute("INSERT INTO orders VALUES (1, $1)", {"a": 1})
        note = await connection.fetchval("SELECT note FROM orders")
        assert note == {"decoded": True, "a": 1}


async def test_without_an_open_transaction_the_job_is_committed_by_itself(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    async with callers_connection(servers) as connection:
        job = await producer.enqueue(text_to_image(), account_id="acme", connection=connection)
        assert not connection.is_in_transaction()
    assert (await producer.get(job.id)).state == "queued"


async def test_a_connection_of_the_callers_pool_will_do(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    async with (
        asyncpg.create_pool(servers.database_url, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        jobs = await producer.enqueue_many(
            [Order(request=text_to_image(), account_id="acme") for _ in range(3)],
            connection=connection,
        )
    assert [job.id for job in await producer.list()] == [job.id for job in reversed(jobs)]


async def test_a_known_key_gives_the_first_job_inside_a_transaction_too(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    first = await producer.enqueue(text_to_image(), account_id="acme", idempotency_key="k")
    async with callers_connection(servers) as connection, connection.transaction():
        again = await producer.enqueue(
            text_to_image(), account_id="acme", idempotency_key="k", connection=connection
        )
    assert again == first
    assert await money(producer) == (1_000, 6)
