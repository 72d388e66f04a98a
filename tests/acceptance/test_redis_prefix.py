"""Several Darkrooms share one Redis, each with a REDIS_PREFIX of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

from producer import JobState, Producer
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers
from shared.redis_url.redis_url import with_prefix
from tests.support.deployment import Deployment, another_database, text_to_image

NAME = "shop"


@asynccontextmanager
async def darkroom(servers: Servers, database_url: str, prefix: str) -> AsyncIterator[Producer]:
    """A producer of that database, which has the account `shop`."""
    redis_url = with_prefix(servers.redis_url, prefix)
    own = replace(servers, database_url=database_url, redis_url=redis_url)
    async with Producer.connect_to(own) as producer:
        await producer.billing.create_account(NAME)
        await producer.billing.grant(NAME, Decimal(1_000), "for the test")
        yield producer


async def test_two_databases_share_a_redis_if_the_second_has_a_prefix(
    deployment: Deployment, servers: Servers
) -> None:
    first_prefix, second_prefix = "", "{b}:"
    async with (
        another_database(servers.database_url) as other_url,
        deployment.worker_process(REDIS_PREFIX=first_prefix) as first,
        deployment.worker_process(DATABASE_URL=other_url, REDIS_PREFIX=second_prefix) as second,
        darkroom(servers, servers.database_url, first_prefix) as here,
        darkroom(servers, other_url, second_prefix) as there,
    ):
        jobs = [
            (producer, await producer.enqueue(text_to_image(f"picture {n}"), account_id=NAME))
            for n in range(3)
            for producer in (here, there)
        ]
        for producer, job in jobs:
            ended = await producer.wait(job.id, timeout_seconds=20)
            assert ended.state is JobState.SUCCEEDED
        assert await second.stop() == 0
        assert await first.stop() == 0


async def test_every_key_begins_with_the_prefix(deployment: Deployment, servers: Servers) -> None:
    async with connect_redis(servers.redis_url) as plain:
        await plain.flushdb()
        async with (
            deployment.worker_process(REDIS_PREFIX="{shop}:"),
            darkroom(servers, servers.database_url, "{shop}:") as producer,
        ):
            job = await producer.enqueue(text_to_image("one"), account_id=NAME)
            await producer.wait(job.id, timeout_seconds=20)
            channels = [name.decode() for name in await plain.pubsub_channels()]
            keys = [key.decode() async for key in plain.scan_iter()]
    assert {"{shop}:darkroom:processes", "{shop}:darkroom:brake"} & set(keys)
    assert {"{shop}:darkroom:changes", "{shop}:darkroom:wake"} <= set(channels)
    assert [key for key in (*keys, *channels) if not key.startswith("{shop}:")] == []
