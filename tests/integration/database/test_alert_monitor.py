"""After an outage of Postgres no process counts as lost before it could write again."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from arq.connections import ArqRedis

from shared.adapters.monitoring.alert_monitor import RECOVERY_SECONDS, AlertMonitor
from shared.adapters.postgres.database import Database
from shared.errors import PostgresDown


class QueriesWithAnOutage:
    """Named queries that fail while the server is set to be down."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_away = False

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name and return its rows."""
        if self.is_away:
            raise PostgresDown("Postgres does not answer")
        return await self._database.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name and return its first row, if any."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None


class Seconds:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


async def _add_silent_worker(database: Database) -> None:
    await database.pool.execute(
        "INSERT INTO processes (id, kind, name, version, redis, started_at, seen_at)"
        " VALUES (gen_random_uuid(), 'worker', 'host:7', '1', 'r',"
        " now() - interval '1 hour', now() - interval '30 seconds')"
    )


async def test_an_outage_makes_no_worker_lost(database: Database, redis: ArqRedis) -> None:
    await _add_silent_worker(database)
    queries, seconds = QueriesWithAnOutage(database), Seconds()
    watch = AlertMonitor(queries, redis, ["default"], monotonic=seconds)

    async def names() -> set[str]:
        seconds.now += 3
        return {alert.name for alert in (await watch.read()).alerts}

    assert await names() == {"worker_lost", "no_worker"}
    queries.is_away = True
    with pytest.raises(PostgresDown):
        await names()
    queries.is_away = False
    assert await names() == set()
    seconds.now += RECOVERY_SECONDS
    assert await names() == {"worker_lost", "no_worker"}


async def test_a_read_only_server_makes_no_worker_lost(
    database: Database, database_url: str, redis: ArqRedis
) -> None:
    await _add_silent_worker(database)
    seconds = Seconds()
    name = database_url.rpartition("/")[2]
    await database.pool.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await database.pool.expire_connections()
    watch = AlertMonitor(database, redis, ["default"], monotonic=seconds)
    found = {alert.name for alert in (await watch.read()).alerts}
    assert found == {"postgres_is_read_only"}
    async with database.pool.acquire() as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    await database.pool.expire_connections()
    seconds.now += 3
    assert (await watch.read()).alerts == ()
    seconds.now += RECOVERY_SECONDS
    assert {alert.name for alert in (await watch.read()).alerts} == {"worker_lost", "no_worker"}
