"""Enqueueing stores jobs with their holds or nothing, one or many, with and without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from producer import (
    AccountNotFound,
    InsufficientCredits,
    InvalidRequest,
    Job,
    JobState,
    Order,
    PriceMissing,
    Producer,
)
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue, Lane, connect_redis
from shared.adapters.servers import Servers
from tests.integration.producer.client_setup import (
    callers_connection,
    is_delivered,
    money,
    open_account,
    producer_without_redis,
    stored,
)
from tests.support.deployment import eventually, image_to_image, text_to_image

NOTHING = {"jobs": 0, "entries": 1, "events": 0, "held": 0}  # the one entry is the grant


def order(account_id: str = "acme", **options: Any) -> Order:
    fields: Mapping[str, Any] = options.pop("fields", {})
    return Order(request=text_to_image(**fields), account_id=account_id, **options)


@pytest.mark.parametrize("how_many", [1, 2])
async def test_a_run_at_in_the_past_is_due_now_and_gains_no_precedence(
    producer: Producer, database: Database, how_many: int
) -> None:
    await open_account(producer)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    jobs = await producer.enqueue_many([order(run_at=past) for _ in range(how_many)])
    rows = await database.pool.fetch("SELECT run_at, due_at, created_at FROM jobs")
    assert len(rows) == how_many
    for due in [*((row["run_at"], row["due_at"], row["created_at"]) for row in rows)]:
        assert due == (past, due[2], due[2])
    assert all(job.run_at == past and job.due_at == job.created_at for job in jobs)


async def test_an_accepted_job_is_stored_as_asked_with_its_quoted_price(
    producer: Producer,
) -> None:
    await open_account(producer)
    request = image_to_image(prompt="a hat", quantity=2, fallback_model="FLUX_MAX")
    moment = datetime.now(UTC) + timedelta(days=30)
    job = await producer.enqueue(
        request,
        account_id="acme",
        idempotency_key="order-1042",
        metadata={"order": 1042, "tags": ["a", None]},
        webhook_url="https://shop.example/hook",
        priority="high",
        run_at=moment,
    )
    assert (job.account_id, job.model, job.task) == ("acme", "gpt-4o-image", "image-to-image")
    assert (job.state, job.attempt, job.progress, job.result_urls) == ("queued", 0, 0, ())
    assert job.request == request.model_dump(mode="json")
    assert (job.credits_quoted, job.credits_charged) == (7, None)
    assert job.price_id == (await producer.quote(request)).price_id
    assert job.metadata == {"order": 1042, "tags": ["a", None]}
    assert (job.idempotency_key, job.webhook_url) == ("order-1042", "https://shop.example/hook")
    assert (job.priority, job.run_at, job.due_at) == ("high", moment, moment)
    assert job.id.version == 7
    assert await producer.get(job.id) == await producer.get(str(job.id)) == job


async def test_a_hold_is_placed_and_written_into_the_ledger(producer: Producer) -> None:
    await open_account(producer)
    job = await producer.enqueue(text_to_image(quantity=4), account_id="acme")
    assert await money(producer) == (1_000, 8)
    assert (await producer.balance("acme")).available == 992
    entry = (await producer.billing.ledger("acme", None, 1))[0]
    assert (entry["kind"], entry["credits"], entry["job_id"]) == ("hold", 8, job.id)
    assert (entry["balance_after"], entry["held_after"]) == (1_000, 8)
    assert entry["price_id"] == job.price_id
    story = await producer.job_details(job.id)
    assert [one["event"] for one in story["events"]] == ["enqueued"]


async def test_a_scheduled_job_waits_in_postgres_without_a_delivery(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    later = datetime.now(UTC) + timedelta(hours=1)
    job = await producer.enqueue(text_to_image(), account_id="acme", run_at=later)
    assert job.due_at == later
    async with connect_redis(servers.redis_url) as redis:
        assert await redis.zcard(Lane.SUBMIT.value) == 0


async def test_too_few_credits_are_refused_with_the_numbers_and_nothing_stored(
    producer: Producer, database: Database
) -> None:
    await open_account(producer, credits=13)
    first = await producer.enqueue(text_to_image(quantity=4), account_id="acme")
    before = await stored(database)
    with pytest.raises(InsufficientCredits) as caught:
        await producer.enqueue(text_to_image(), account_id="acme")
    error = caught.value
    assert (error.account_id, error.needed, error.available, error.held) == ("acme", 6, 5, 8)
    assert str(error) == (
        "account 'acme' needs 6 credits but has 5 available (8 held by open jobs);"
        " grant more with `darkroom accounts grant`"
    )
    assert await stored(database) == before
    await producer.cancel(first.id)
    assert (await producer.enqueue(text_to_image(), account_id="acme")).state == "queued"


async def test_exactly_enough_credits_are_enough(producer: Producer) -> None:
    await open_account(producer, credits=6)
    await producer.enqueue(text_to_image(), account_id="acme")
    assert (await producer.balance("acme")).available == 0


async def test_an_unknown_account_is_named_and_nothing_stored(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    with pytest.raises(AccountNotFound, match="no account has the id 'nobody'; create it with"):
        await producer.enqueue(text_to_image(), account_id="nobody")
    for orders in ([order(), order("nobody")], [order("nobody"), order(), order("nobody")]):
        with pytest.raises(AccountNotFound) as caught:
            await producer.enqueue_many(orders)
        assert caught.value.account_id == "nobody"
    assert await stored(database) == NOTHING


async def test_what_has_no_price_is_not_sold(producer: Producer, database: Database) -> None:
    await open_account(producer)
    await database.pool.execute("DELETE FROM pricing WHERE task = 'text-to-image' AND quantity = 2")
    sentence = "no price for model 'gpt-4o-image', task 'text-to-image', quantity 2"
    with pytest.raises(PriceMissing, match=sentence):
        await producer.enqueue(text_to_image(quantity=2), account_id="acme")
    with pytest.raises(PriceMissing):
        await producer.enqueue_many([order(), order(fields={"quantity": 2})])
    with pytest.raises(PriceMissing):
        await producer.quote(text_to_image(quantity=2))
    assert await stored(database) == NOTHING


@pytest.mark.parametrize(("credits", "price"), [(60, 6), (61, 6), (7, 8)])
async def test_however_many_race_for_the_credits_they_are_never_overdrawn(
    producer: Producer, database: Database, credits: int, price: int
) -> None:
    await open_account(producer, credits=credits)
    quantity = {6: 1, 8: 4}[price]
    answers = await asyncio.gather(
        *(
            producer.enqueue(text_to_image(quantity=quantity), account_id="acme")
            for _ in range(credits // price + 15)
        ),
        return_exceptions=True,
    )
    accepted = [one for one in answers if isinstance(one, Job)]
    refused = [one for one in answers if isinstance(one, InsufficientCredits)]
    assert (len(accepted), len(refused)) == (credits // price, 15)
    assert await money(producer) == (credits, len(accepted) * price)
    assert (await stored(database))["jobs"] == len(accepted)


async def test_batches_that_race_for_the_credits_get_all_or_nothing(
    producer: Producer, database: Database
) -> None:
    await open_account(producer, credits=70)
    answers = await asyncio.gather(
        *(producer.enqueue_many([order() for _ in range(5)]) for _ in range(6)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, list) for one in answers) == 2
    assert sum(isinstance(one, InsufficientCredits) for one in answers) == 4
    assert await money(producer) == (70, 60)
    assert (await stored(database))["jobs"] == 10


async def test_a_batch_is_stored_in_the_order_given_with_running_sums(
    producer: Producer, database: Database
) -> None:
    await open_account(producer)
    await open_account(producer, "bolt")
    asked = [("acme", 1), ("bolt", 4), ("acme", 2), ("acme", 4), ("bolt", 1)]
    jobs = await producer.enqueue_many(
        [order(account, fields={"quantity": quantity}) for account, quantity in asked]
    )
    assert [(job.account_id, job.quantity) for job in jobs] == asked
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)
    holds = await database.pool.fetch(
        "SELECT account_id, credits, held_after FROM ledger_entries WHERE kind = 'hold'"
        " ORDER BY account_id, id"
    )
    assert [tuple(hold) for hold in holds] == [
        *(("acme", 6, 6), ("acme", 7, 13), ("acme", 8, 21)),
        *(("bolt", 8, 8), ("bolt", 6, 14)),
    ]


async def test_a_batch_of_which_one_is_bad_leaves_nothing(
    producer: Producer, database: Database, servers: Servers
) -> None:
    await open_account(producer, credits=20)
    with pytest.raises(InsufficientCredits) as caught:
        await producer.enqueue_many([order() for _ in range(4)])
    assert (caught.value.needed, caught.value.available) == (24, 20)
    assert await stored(database) == NOTHING
    async with connect_redis(servers.redis_url) as redis:
        assert await redis.zcard(Lane.SUBMIT.value) == 0


async def test_a_batch_of_none_is_nothing_and_too_large_a_batch_is_refused(
    producer: Producer,
) -> None:
    await open_account(producer)
    assert await producer.enqueue_many([]) == []
    with pytest.raises(InvalidRequest, match="10001 were given; at most 10000 at once"):
        await producer.enqueue_many([order()] * 10_001)


async def test_a_large_batch_is_one_hold_each_and_the_first_are_delivered(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer, credits=6_000)
    jobs = await producer.enqueue_many([order() for _ in range(1_000)])
    assert len({job.id for job in jobs}) == 1_000
    assert await money(producer) == (6_000, 6_000)
    async with connect_redis(servers.redis_url) as redis:
        delivered = await redis.zrange(Lane.SUBMIT.value, 0, -1)
    assert [one.decode() for one in delivered] == [
        Lane.SUBMIT.arq_id(job.id) for job in jobs[: len(delivered)]
    ]
    assert 0 < len(delivered) < 10


async def are_waiting(database: Database, number: int) -> None:
    """Wait until so many statements wait for a lock."""

    async def there_are() -> bool:
        waiting = await database.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(waiting == number)

    await eventually(there_are, f"{number} wait for a lock")


async def test_batches_with_the_same_keys_in_another_order_never_wait_for_each_other_for_ever(
    producer: Producer, database: Database, servers: Servers
) -> None:
    await open_account(producer)

    def batch(keys: str) -> asyncio.Task[list[Job]]:
        orders = [order(idempotency_key=key) for key in keys]
        return asyncio.create_task(producer.enqueue_many(orders))

    async with callers_connection(servers) as connection:
        # Taken in the order given, the first would have b and wait for x, the second have a and
        # wait for b, and then the first would want a.
        transaction = connection.transaction()
        await transaction.start()
        await producer.enqueue_many([order(idempotency_key="x")], connection=connection)
        first = batch("bxa")
        await are_waiting(database, 1)
        second = batch("ab")
        await are_waiting(database, 2)
        await transaction.rollback()
        jobs = [*await first, *await second]
    assert len({job.id for job in jobs}) == 3
    assert (await stored(database))["held"] == 18


async def test_a_batch_takes_its_accounts_in_their_own_order(
    producer: Producer, database: Database
) -> None:
    names = [f"account-{n}" for n in range(6)]
    for name in names:
        await open_account(producer, name)
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT FROM accounts WHERE id = 'account-3' FOR UPDATE")
        call = asyncio.create_task(
            producer.enqueue_many([order(names[n]) for n in (4, 1, 5, 0, 3, 2)])
        )
        await are_waiting(database, 1)
        free = await database.pool.fetch(
            "SELECT id FROM accounts ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
        )
        await transaction.rollback()
        assert len(await call) == 6
    assert [row["id"] for row in free] == ["account-4", "account-5"]


async def test_a_dead_redis_refuses_no_job(
    servers: Servers, database: Database, tmp_path: Path
) -> None:
    async with producer_without_redis(servers, tmp_path) as producer:
        await open_account(producer)
        job = await producer.enqueue(text_to_image(), account_id="acme")
        jobs = await producer.enqueue_many([order(), order()])
        assert {one.state for one in (job, *jobs)} == {JobState.QUEUED}
        assert (await producer.cancel(job.id)).state == JobState.CANCELLED
        assert (await producer.wait(job.id, timeout_seconds=5)).id == job.id
    assert (await stored(database))["jobs"] == 3


async def test_the_first_job_is_not_delivered_again_for_a_known_key(
    producer: Producer, servers: Servers
) -> None:
    await open_account(producer)
    job = await producer.enqueue(text_to_image(), account_id="acme", idempotency_key="k")
    async with connect_redis(servers.redis_url) as redis:
        assert await is_delivered(DeliveryQueue(redis), job)
        await redis.flushall()
        await producer.enqueue(text_to_image(), account_id="acme", idempotency_key="k")
        assert not await is_delivered(DeliveryQueue(redis), job)


async def test_fractions_of_credits_are_exact(producer: Producer, database: Database) -> None:
    await open_account(producer, credits=1)
    async with database.transaction() as queries:
        await queries.connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        await queries.connection.execute("UPDATE pricing SET credits = 0.1")
    await producer.enqueue_many([order() for _ in range(10)])
    assert (await producer.balance("acme")).available == Decimal(0)
    with pytest.raises(InsufficientCredits):
        await producer.enqueue(text_to_image(), account_id="acme")
