"""Webhooks in the producer: allowed URLs, list, replay, secrets, roles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from arq.connections import ArqRedis

from producer import AccountNotFound, InvalidRequest, Job, NotFound, Order, Producer
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import Lane
from shared.adapters.servers import Servers
from tests.integration.producer.client_setup import (
    callers_connection,
    open_account,
    producer_without_redis,
    stored,
)
from tests.support.deployment import text_to_image

URL = "https://shop.example/hook"
READERS = ("darkroom_admin", "darkroom_readonly")


@pytest.fixture
async def shop(producer: Producer) -> Producer:
    """A producer with the account `acme`."""
    await open_account(producer)
    return producer


async def dead_message(shop: Producer, database: Database, url: str = URL) -> dict[str, Any]:
    """Return the message of a cancelled job, given up a day ago."""
    job = await shop.enqueue(text_to_image(), account_id="acme", webhook_url=url)
    await shop.cancel(job.id)
    await database.pool.execute(
        "UPDATE webhook_messages SET state = 'dead', tries = 12, last_error = 'answered 500',"
        " retry_until = now() - interval '1 hour' WHERE job_id = $1",
        job.id,
    )
    return await message_of(database, job)


async def message_of(database: Database, job: Job) -> dict[str, Any]:
    row = await database.pool.fetchrow("SELECT * FROM webhook_messages WHERE job_id = $1", job.id)
    assert row is not None
    return dict(row)


async def waiting(redis: ArqRedis) -> set[str]:
    return {one.decode() for one in await redis.zrange(Lane.WEBHOOK.value, 0, -1)}


# --- at the door -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8080/", "http://localhost/", "http://169.254.169.254/latest/"),
        *("http://[::1]/", "http://2130706433/", "http://user:pw@shop.example/", "http://10.0.0.1"),
        *("https://db.internal/", "http://[::ffff:10.0.0.1]/", "http://127.0.0.1.:80/"),
    ],
)
async def test_an_inner_url_is_refused_and_nothing_is_stored(
    shop: Producer, database: Database, servers: Servers, url: str
) -> None:
    before = await stored(database)
    with pytest.raises(InvalidRequest) as caught:
        await shop.enqueue(text_to_image(), account_id="acme", webhook_url=url)
    assert [fault.field for fault in caught.value.faults] == ["webhook_url"]
    async with callers_connection(servers) as connection, connection.transaction():
        with pytest.raises(InvalidRequest):
            await shop.enqueue(
                text_to_image(), account_id="acme", webhook_url=url, connection=connection
            )
    assert await stored(database) == before


async def test_each_order_of_a_batch_is_named(shop: Producer) -> None:
    urls = [URL, "http://10.0.0.1/", None, "http://localhost/"]
    orders = [Order(request=text_to_image(), account_id="acme", webhook_url=url) for url in urls]
    with pytest.raises(InvalidRequest) as caught:
        await shop.enqueue_many(orders)
    assert [fault.field for fault in caught.value.faults] == [
        "jobs.1.webhook_url",
        "jobs.3.webhook_url",
    ]


async def test_the_development_setting_lets_this_machine_in_and_no_other(
    servers: Servers, shop: Producer
) -> None:
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as developer:
        for url in ("http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/"):
            await developer.enqueue(text_to_image(), account_id="acme", webhook_url=url)
        with pytest.raises(InvalidRequest):
            await developer.enqueue(
                text_to_image(), account_id="acme", webhook_url="http://10.0.0.1/"
            )


# --- the list ----------------------------------------------------------------------------------


async def test_messages_are_listed_newest_first_as_receivers_see_them(
    shop: Producer, database: Database
) -> None:
    first = await dead_message(shop, database, f"{URL}?token=secret")
    second = await dead_message(shop, database)
    rows = await shop.webhooks.list()
    assert [row["id"] for row in rows] == [
        f"msg_{UUID(str(one['id'])).hex}" for one in (second, first)
    ]
    assert (rows[1]["endpoint"], rows[1]["event"], rows[1]["state"]) == (
        URL,
        "job.cancelled",
        "dead",
    )
    assert "secret" not in str(rows)
    assert await shop.webhooks.list(account_id="acme", state="dead", limit=1) == rows[:1]
    assert await shop.webhooks.list(account_id="other") == []
    assert await shop.webhooks.list(state="pending") == []


async def test_nonsense_filters_are_refused(shop: Producer) -> None:
    with pytest.raises(InvalidRequest, match="must be one of pending, delivered, dead"):
        await shop.webhooks.list(state="gone")
    with pytest.raises(InvalidRequest, match="limit"):
        await shop.webhooks.list(limit=0)


# --- anew --------------------------------------------------------------------------------------


async def test_a_replay_is_the_same_message_with_another_day(
    shop: Producer, database: Database, redis: ArqRedis
) -> None:
    before = await dead_message(shop, database)
    await redis.flushall()
    row = await shop.webhooks.replay(before["id"])
    assert row["id"] == f"msg_{UUID(str(before['id'])).hex}"
    after = (await database.pool.fetch("SELECT * FROM webhook_messages"))[0]
    same = ("id", "job_id", "event", "url", "created_at", "endpoint_id")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert (after["state"], after["tries"]) == ("pending", 0)
    assert (after["retry_until"] - after["replayed_at"]).total_seconds() == 24 * 3600
    assert await waiting(redis) == {Lane.WEBHOOK.arq_id(UUID(str(before["id"])))}


async def test_a_message_is_named_as_receivers_or_as_the_table_name_it(
    shop: Producer, database: Database
) -> None:
    message_id = UUID(str((await dead_message(shop, database))["id"]))
    for name in (message_id, str(message_id), message_id.hex, f"msg_{message_id.hex}"):
        assert (await shop.webhooks.replay(name))["state"] == "pending"


async def test_a_delivered_message_is_sent_again_as_well(
    shop: Producer, database: Database
) -> None:
    message = await dead_message(shop, database)
    await database.pool.execute(
        "UPDATE webhook_messages SET state = 'delivered', delivered_at = now()"
    )
    assert (await shop.webhooks.replay(message["id"]))["delivered_at"] is None


@pytest.mark.parametrize(
    "name", [UUID(int=7), str(UUID(int=7)), "nonsense", "", "msg_", "x" * 10_000]
)
async def test_a_message_that_does_not_exist_is_not_found(shop: Producer, name: Any) -> None:
    with pytest.raises(NotFound) as caught:
        await shop.webhooks.replay(name)
    assert len(str(caught.value)) < 200


async def test_all_dead_messages_of_one_account_are_sent_again_and_no_others(
    shop: Producer, database: Database
) -> None:
    dead = [await dead_message(shop, database) for _ in range(3)]
    kept = await dead_message(shop, database)
    await database.pool.execute(
        "UPDATE webhook_messages SET state = 'delivered', delivered_at = now() WHERE id = $1",
        kept["id"],
    )
    await open_account(shop, "other")
    assert await shop.webhooks.replay_dead("other") == 0
    assert await shop.webhooks.replay_dead("acme") == 3
    assert {row["id"] for row in await shop.webhooks.list(state="pending")} == {
        f"msg_{UUID(str(one['id'])).hex}" for one in dead
    }
    assert await shop.webhooks.replay_dead("acme") == 0
    with pytest.raises(AccountNotFound):
        await shop.webhooks.replay_dead("nobody")


async def test_thousands_of_dead_messages_are_sent_again(
    shop: Producer, database: Database
) -> None:
    await shop.billing.grant("acme", Decimal(100_000), "for the test")
    order = Order(request=text_to_image(), account_id="acme", webhook_url=URL)
    await shop.enqueue_many([order] * 2_100)
    await database.pool.execute("UPDATE jobs SET state = 'cancelled', finished_at = now()")
    await database.pool.execute("UPDATE webhook_messages SET state = 'dead'")
    assert await shop.webhooks.replay_dead("acme") == 2_100


async def test_without_redis_a_replay_is_stored_and_found_later(
    shop: Producer, database: Database, servers: Servers, tmp_path: Path
) -> None:
    message = await dead_message(shop, database)
    async with producer_without_redis(servers, tmp_path) as cut_off:
        assert (await cut_off.webhooks.replay(message["id"]))["state"] == "pending"


# --- secrets -----------------------------------------------------------------------------------


async def test_an_endpoint_is_known_with_the_first_job_and_its_secret_is_its_own(
    shop: Producer,
) -> None:
    for url in (f"{URL}?order=1", f"{URL}?order=2#x", "https://other.example"):
        await shop.enqueue(text_to_image(), account_id="acme", webhook_url=url)
    rows = await shop.webhooks.endpoints("acme")
    assert [row["url"] for row in rows] == ["https://other.example/", URL]
    assert not any("secret" in name and "until" not in name for name in rows[0])
    secrets = {str((await shop.webhooks.secret("acme", row["url"]))["secret"]) for row in rows}
    assert len(secrets) == 2
    assert all(one.startswith("whsec_") and len(one) == 50 for one in secrets)
    assert (await shop.webhooks.secret("acme", "HTTPS://SHOP.example/hook?x=1"))["url"] == URL
    assert await shop.webhooks.endpoints("other") == []


async def test_a_secret_can_be_asked_for_before_the_first_job(shop: Producer) -> None:
    with pytest.raises(NotFound, match="has no webhook endpoint"):
        await shop.webhooks.secret("acme", f"{URL}?token=hidden")
    made = await shop.webhooks.secret("acme", f"{URL}?x=1", allow_loopback=False)
    await shop.enqueue(text_to_image(), account_id="acme", webhook_url=URL)
    assert await shop.webhooks.secret("acme", URL) == made
    with pytest.raises(AccountNotFound):
        await shop.webhooks.secret("nobody", URL, allow_loopback=False)
    with pytest.raises(InvalidRequest, match="not public"):
        await shop.webhooks.secret("acme", "http://10.0.0.1/", allow_loopback=False)


async def test_a_rotation_keeps_the_old_secret_for_a_day(
    shop: Producer, database: Database
) -> None:
    old = await shop.webhooks.secret("acme", URL, allow_loopback=False)
    new = await shop.webhooks.rotate("acme", URL)
    assert new["secret"] != old["secret"]
    assert (new["previous_secret_until"] - new["rotated_at"]).total_seconds() == 24 * 3600
    row = await database.pool.fetchrow("SELECT * FROM webhook_endpoints")
    assert row is not None
    assert (row["secret"], row["previous_secret"]) == (new["secret"], old["secret"])
    with pytest.raises(NotFound):
        await shop.webhooks.rotate("acme", "https://nowhere.example/")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("role", READERS)
async def test_operators_and_admins_see_messages_but_no_secret_and_no_whole_url(
    shop: Producer, connection: asyncpg.Connection[asyncpg.Record], role: str
) -> None:
    job = await shop.enqueue(text_to_image(), account_id="acme", webhook_url=f"{URL}?token=1")
    await shop.cancel(job.id)
    await connection.execute(f"SET ROLE {role}")
    rows = await connection.fetch(
        "SELECT id, event, state, tries, last_error FROM webhook_messages"
    )
    assert [row["event"] for row in rows] == ["job.cancelled"]
    assert await connection.fetch("SELECT account_id, url FROM webhook_endpoints")
    for statement in (
        *("SELECT secret FROM webhook_endpoints", "SELECT * FROM webhook_endpoints"),
        *("SELECT previous_secret FROM webhook_endpoints", "SELECT url FROM webhook_messages"),
        *("SELECT * FROM webhook_messages", "UPDATE webhook_messages SET state = 'dead'"),
        *("DELETE FROM webhook_messages", "UPDATE webhook_endpoints SET secret = 'mine'"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(statement)


async def test_the_service_writes_what_it_needs_and_deletes_nothing(
    shop: Producer, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    job = await shop.enqueue(text_to_image(), account_id="acme", webhook_url=URL)
    await connection.execute("SET ROLE darkroom_service")
    await connection.execute("SELECT count(*) FROM darkroom_cancel_job($1)", job.id)
    assert await connection.fetchval("SELECT count(*) FROM webhook_messages") == 1
    for statement in (
        *("DELETE FROM webhook_messages", "DELETE FROM webhook_endpoints"),
        *("UPDATE webhook_messages SET url = 'x'", "UPDATE webhook_endpoints SET url = 'x'"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
