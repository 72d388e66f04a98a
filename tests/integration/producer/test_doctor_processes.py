"""The doctor reports live processes, and processes with another Redis or other settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from arq.connections import ArqRedis

from producer.doctor.finding import Finding
from producer.doctor.process_findings import check_processes
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers
from shared.redis_url.redis_url import redis_address
from tests.support.deployment import another_database

SHARED, ALONE, SAME = (
    "workers share one redis",
    "redis serves this database alone",
    "workers have the same settings",
)


def number_one(servers: Servers) -> str:
    return f"{servers.redis_url}?db=1"


@asynccontextmanager
async def running(
    database: Database, url: str, name: str, **limits: int
) -> AsyncIterator[ProcessRegistry]:
    """A worker's heartbeat on that Redis, as often as a real one's."""
    process = Process("worker", redis=redis_address(url), database="db", name=name, limits=limits)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect_redis(url))
        registry = ProcessRegistry(database, redis, process)
        await registry.send_heartbeat()
        await stack.enter_async_context(registry.running())
        yield registry


async def examine(database: Database, url: str | None) -> dict[str, Finding]:
    return {one.name: one async for one in check_processes(database, url)}


async def test_processes_that_share_all_are_counted(database: Database, servers: Servers) -> None:
    async with (
        running(database, servers.redis_url, "a:1", KIE_SUBMITS_PER_10_SECONDS=20),
        running(database, servers.redis_url, "b:2", KIE_SUBMITS_PER_10_SECONDS=20),
    ):
        found = await examine(database, servers.redis_url)
    assert all(one.ok for one in found.values()), found
    assert found["processes"].detail == "workers alive: 2, last seen 0 s ago; APIs alive: 0"
    assert {SHARED, ALONE, SAME} <= set(found)


async def test_without_any_process_nothing_is_wrong_with_them(
    database: Database, servers: Servers
) -> None:
    found = await examine(database, servers.redis_url)
    assert all(one.ok for one in found.values()), found
    assert "workers alive: 0" in found["processes"].detail


@pytest.mark.parametrize("whose", ["a worker's", "the doctor's"])
async def test_another_redis_is_named(database: Database, servers: Servers, whose: str) -> None:
    other = number_one(servers)
    at_worker, at_doctor = (
        (other, servers.redis_url) if whose == "a worker's" else (servers.redis_url, other)
    )
    async with (
        running(database, at_doctor, "right:1"),
        running(database, at_worker, "wrong:2"),
    ):
        finding = (await examine(database, at_doctor))[SHARED]
    assert not finding.ok
    assert f"worker wrong:2 uses {redis_address(at_worker)}" in finding.detail
    assert "right:1" not in finding.detail
    assert f"the doctor uses {redis_address(at_doctor)}" in finding.detail
    assert "REDIS_URL" in (finding.fix or "")


async def test_a_wiped_redis_and_a_killed_worker_are_no_findings(
    database: Database, servers: Servers, redis: ArqRedis
) -> None:
    killed = Process("worker", redis=redis_address(servers.redis_url), database="d", name="dead:1")
    await ProcessRegistry(database, redis, killed).send_heartbeat()
    async with running(database, servers.redis_url, "a:1"):
        await redis.flushall()
        found = await examine(database, servers.redis_url)
    assert found[SHARED].ok, found[SHARED].detail
    assert found[ALONE].ok, found[ALONE].detail


async def test_another_darkroom_in_this_redis_is_named(
    database: Database, servers: Servers
) -> None:
    async with (
        another_database(servers.database_url) as url,
        connect_database(url) as elsewhere,
        running(database, servers.redis_url, "ours:1"),
        running(elsewhere, servers.redis_url, "theirs:2"),
    ):
        finding = (await examine(database, servers.redis_url))[ALONE]
    assert not finding.ok
    assert "worker theirs:2 of the database db uses this Redis" in finding.detail
    assert "a REDIS_PREFIX of its own" in (finding.fix or "")


async def test_settings_that_differ_are_named(database: Database, servers: Servers) -> None:
    async with (
        running(database, servers.redis_url, "a:1", KIE_POLLS_PER_SECOND_PER_TASK=3),
        running(database, servers.redis_url, "b:2", KIE_POLLS_PER_SECOND_PER_TASK=2),
    ):
        finding = (await examine(database, servers.redis_url))[SAME]
    assert not finding.ok
    assert "KIE_POLLS_PER_SECOND_PER_TASK is" in finding.detail
    assert "3 at a:1" in finding.detail
    assert "2 at b:2" in finding.detail


async def test_a_worker_that_does_not_reach_its_redis_is_named(
    database: Database, servers: Servers
) -> None:
    async with running(database, "unix:///nowhere/redis.sock", "cut-off:1"):
        await database.pool.execute("UPDATE processes SET started_at = now() - interval '1 min'")
        found = await examine(database, servers.redis_url)
    assert not found["processes"].ok
    assert (
        "cut-off:1 is alive and cannot write to its Redis /nowhere/redis.sock/0"
        in found["processes"].detail
    )
    assert found[SHARED].ok


async def test_without_redis_the_rest_is_reported(database: Database, servers: Servers) -> None:
    async with running(database, servers.redis_url, "a:1"):
        for url in (None, "", "unix:///nowhere/redis.sock"):
            found = await examine(database, url)
            assert set(found) == {"processes", SAME}
            assert found["processes"].ok
