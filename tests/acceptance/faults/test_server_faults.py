"""Servers that refuse, are nearly full, or lead to the wrong place: what every output says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.redis.lost_write_log import LostJob, LostWriteLog
from tests.acceptance.faults.fault_setup import Cause, Fault, FaultSetup, play
from tests.support.deployment import eventually
from worker.recovery.reconciler import EPOCH_KEY


def database_of(setup: FaultSetup) -> str:
    """Return the name of this test's database."""
    return urlsplit(setup.darkroom.environ["DATABASE_URL"]).path.strip("/")


@asynccontextmanager
async def operator(setup: FaultSetup) -> AsyncIterator[Connection]:
    """Open a session that does not use the relay."""
    url = setup.deployment.settings.database_url
    assert url is not None
    connection = await asyncpg.connect(url.get_secret_value())
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _account_locked(setup: FaultSetup) -> AsyncIterator[None]:
    async with operator(setup) as session, session.transaction():
        await session.execute("SELECT * FROM accounts WHERE id = 'acme' FOR UPDATE")
        yield


@asynccontextmanager
async def _connections_taken(setup: FaultSetup) -> AsyncIterator[None]:
    async with AsyncExitStack() as sessions:
        (row,) = await setup.sql(
            "SELECT 0.93 * (current_setting('max_connections')::integer"
            " - current_setting('superuser_reserved_connections')::integer)"
            " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS n"
        )
        for _ in range(max(int(row["n"]), 0)):
            await sessions.enter_async_context(operator(setup))
        yield


@asynccontextmanager
async def _price_missing(setup: FaultSetup) -> AsyncIterator[None]:
    row = ("gpt-4o-image", "text-to-image", 1)
    await setup.enqueue(1)
    setup.deployment.simulator.set_faults(duration=60.0)
    await setup.enqueue(1)
    await setup.sql("ALTER TABLE pricing DISABLE TRIGGER pricing_keeps_what_is_in_use")
    await setup.sql("DELETE FROM pricing WHERE (model, task, quantity) = ($1, $2, $3)", *row)
    yield
    await setup.sql(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ($1, $2, $3, 6, 6)",
        *row,
    )
    await setup.sql("ALTER TABLE pricing ENABLE TRIGGER pricing_keeps_what_is_in_use")


def valkey(**settings: str) -> Cause:
    """Return a cause: Valkey's settings are these."""
    wanted: dict[Any, str] = {name.replace("_", "-"): value for name, value in settings.items()}

    @asynccontextmanager
    async def cause(setup: FaultSetup) -> AsyncIterator[None]:
        before = cast("dict[str, str]", await setup.redis.config_get(*wanted))
        for name, value in wanted.items():
            await setup.redis.config_set(name, value)
        try:
            yield
        finally:
            for name in wanted:
                await setup.redis.config_set(name, before[name])

    return cause


@asynccontextmanager
async def _replica(setup: FaultSetup) -> AsyncIterator[None]:
    await setup.redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        await setup.redis.replicaof("NO", "ONE")


@asynccontextmanager
async def _postgres_read_only(setup: FaultSetup) -> AsyncIterator[None]:
    name = database_of(setup)
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    end_others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    async with operator(setup) as session:
        await session.execute("SET default_transaction_read_only = off")
        await session.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await session.execute(end_others)
        try:
            yield
        finally:
            await session.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            await session.execute(end_others)


@asynccontextmanager
async def _redis_full(setup: FaultSetup) -> AsyncIterator[None]:
    used = int((await setup.redis.info("memory"))["used_memory"])
    # Well below what is used: other tests' connections may be closed meanwhile.
    async with valkey(maxmemory=str(used // 2))(setup):
        yield


@asynccontextmanager
async def _redis_cannot_save(setup: FaultSetup) -> AsyncIterator[None]:
    """Put a directory where Valkey would put its snapshot, and have it save."""
    folder = cast("dict[str, str]", await setup.redis.config_get("dir"))["dir"]
    name = cast("dict[str, str]", await setup.redis.config_get("dbfilename"))["dbfilename"]
    obstacle = Path(folder) / name
    obstacle.unlink(missing_ok=True)
    obstacle.mkdir()
    await _save(setup, "err")
    try:
        yield
    finally:
        obstacle.rmdir()
        await _save(setup, "ok")


async def _save(setup: FaultSetup, status: str) -> None:
    async def has_ended() -> bool:
        info = await setup.redis.info("persistence")
        return bool(info["rdb_last_bgsave_status"] == status)

    # Valkey saves no more often than every five seconds by itself; one that is asked does at once.
    await setup.redis.bgsave()
    await eventually(has_ended, f"the save has ended with {status}")


@asynccontextmanager
async def _redis_wiped(setup: FaultSetup) -> AsyncIterator[None]:
    """Wipe Valkey while tasks run and jobs wait for their run_at. All of them end nevertheless."""

    async def is_marked() -> bool:
        return bool(await setup.redis.exists(EPOCH_KEY))

    await eventually(is_marked, "a worker has marked Valkey")
    setup.deployment.simulator.set_faults(duration=3.0)
    await setup.enqueue(3)
    await setup.redis.flushall()
    yield

    async def have_ended() -> bool:
        rows = await setup.sql("SELECT state FROM jobs")
        return {row["state"] for row in rows} == {"succeeded"}

    await eventually(have_ended, "all jobs have succeeded")
    setup.deployment.check_paid_once()
    assert [line["event"] for line in setup.lines].count("redis_is_empty") == 1
    await setup.deployment.producer.alert_evidence.acknowledge("redis_was_wiped")


@asynccontextmanager
async def _writes_lost(setup: FaultSetup) -> AsyncIterator[None]:
    """Store the evidence of a job that Postgres has lost, as a worker does that meets its task."""
    lost = LostJob("019f0000-0000-7000-8000-000000000000", "t1", "default")
    await LostWriteLog(setup.redis).add_jobs([lost])
    yield
    done = await setup.deployment.producer.alert_evidence.acknowledge("writes_lost")
    assert (done.acknowledged, done.left) == (1, 0)


FAULTS = [
    Fault(
        "Postgres turns read-only",
        "postgres_is_read_only",
        _postgres_read_only,
        "refuses writes (read-only)",
        "point DATABASE_URL at the primary",
        status=503,
        code=6,
    ),
    Fault(
        "Valkey turns replica",
        "redis_is_replica",
        _replica,
        "leads to a replica",
        "point REDIS_URL at the primary",
        status=503,
        degrades_api=True,
        code=6,
    ),
    Fault(
        "Valkey is full",
        "redis_is_full",
        _redis_full,
        "of maxmemory is used",
        "raise maxmemory",
        status=503,
        degrades_api=True,
        code=6,
    ),
    Fault(
        "somebody locks an account",
        "rows_locked",
        _account_locked,
        "keeps rows of jobs or accounts locked",
        "pg_terminate_backend",
    ),
    Fault(
        "hardly a connection is left",
        "connections_nearly_used_up",
        _connections_taken,
        "connections of Postgres are in use",
        "max_connections",
    ),
    Fault(
        "a price row is missing",
        "price_missing",
        _price_missing,
        "gpt-4o-image text-to-image 1 have no row in pricing",
        "put the row back in psql",
    ),
    Fault(
        "Valkey may drop keys",
        "redis_evicts",
        valkey(maxmemory_policy="allkeys-lru", maxmemory="1gb"),
        "maxmemory-policy is allkeys-lru",
        "set maxmemory-policy to noeviction",
        finding="redis keeps its keys",
    ),
    Fault(
        "Valkey is wiped",
        "redis_was_wiped",
        _redis_wiped,
        "every open job was delivered again",
        "the append-only file must be on",
    ),
    Fault(
        "Postgres has lost a job",
        "writes_lost",
        _writes_lost,
        "not in Postgres: ",
        "darkroom queue acknowledge writes_lost",
        finding="no writes were lost",
    ),
    Fault(
        "Valkey cannot save",
        "redis_cannot_save",
        _redis_cannot_save,
        "the last save to disk failed",
        "free its disk",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_output_reports_the_fault_and_clears_afterwards(
    setup: FaultSetup, fault: Fault
) -> None:
    await play(setup, fault)
