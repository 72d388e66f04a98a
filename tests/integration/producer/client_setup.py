"""Accounts, connections and stored counts for tests of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import asyncpg

from producer import Job, Producer
from producer.jobs.end_waiter import open_end_waiter
from producer.jobs.job_repository import JobRepository
from shared.adapters.postgres.database import Connection, Database, connect_database
from shared.adapters.redis.deliveries import DeliveryQueue, Lane, open_redis
from shared.adapters.servers import Servers


async def open_account(producer: Producer, name: str = "acme", credits: int = 1_000) -> None:
    """Create an account with these credits."""
    await producer.billing.create_account(name)
    if credits:
        await producer.billing.grant(name, Decimal(credits), "for the test")


async def money(producer: Producer, name: str = "acme") -> tuple[Decimal, Decimal]:
    """Return the balance and the held credits."""
    account = await producer.balance(name)
    return account.balance, account.held


async def stored(database: Database) -> dict[str, int]:
    """Return the number of rows in the tables that an enqueue writes."""
    return {
        "jobs": await database.pool.fetchval("SELECT count(*) FROM jobs"),
        "entries": await database.pool.fetchval("SELECT count(*) FROM ledger_entries"),
        "events": await database.pool.fetchval("SELECT count(*) FROM job_events"),
        "held": await database.pool.fetchval("SELECT coalesce(sum(held), 0) FROM accounts"),
    }


async def is_delivered(delivery_queue: DeliveryQueue, job: Job, lane: Lane = Lane.SUBMIT) -> bool:
    """Return whether the queue in Redis has the job."""
    return await delivery_queue.redis.zscore(lane.value, lane.arq_id(job.id)) is not None


@asynccontextmanager
async def producer_without_redis(servers: Servers, folder: Path) -> AsyncIterator[Producer]:
    """Open a client for this Postgres whose Redis is down."""
    redis = open_redis(f"unix://{folder}/nobody.sock")
    delivery_queue = DeliveryQueue(redis)
    try:
        async with (
            connect_database(servers.database_url) as database,
            open_end_waiter(JobRepository(database), delivery_queue) as watch,
        ):
            yield Producer(database, delivery_queue, watch)
    finally:
        await redis.aclose(close_connection_pool=True)


@asynccontextmanager
async def callers_connection(servers: Servers) -> AsyncIterator[Connection]:
    """Open the connection of a backend service that has its own table."""
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS orders (id int, note jsonb)")
        yield connection
    finally:
        await connection.close()
