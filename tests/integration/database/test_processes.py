"""Each process updates its row in Postgres and its key in Redis, so dead processes are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost

from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.postgres.server_clock import ServerClock
from shared.adapters.processes.process_records import Process, ProcessKind, list_processes
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.processes.redis_presence import ALIVE_SECONDS, PRESENCE_TTL_MS, read_presences
from shared.adapters.redis.deliveries import connect_redis
from shared.errors import RedisDown
from shared.postgres_url import database_address
from shared.redis_keys import PRESENCES_KEY
from shared.redis_url.redis_url import redis_address
from tests.support.deployment import eventually


def a_process(name: str = "here:1", kind: ProcessKind = "worker", **changes: Any) -> Process:
    return Process(kind, redis="here:6379/0", database="here:5432/mine", name=name, **changes)


class Counted:
    """Queries that record their calls."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: list[str] = []

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        self.asked.append(query)
        return await self._database.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        self.asked.append(query)
        return await self._database.fetch_row(query, *args)


@pytest.fixture
def registry(database: Database, redis: ArqRedis) -> ProcessRegistry:
    return ProcessRegistry(database, redis, a_process("here:1"))


async def marked_ids(redis: ArqRedis) -> set[UUID]:
    return {
        presence.process_id
        for presence in read_presences(await redis.zrange(PRESENCES_KEY, 0, -1, withscores=True))
    }


@asynccontextmanager
async def read_only(database: Database) -> AsyncIterator[None]:
    """Refuse every write of new transactions, as a demoted server does."""
    name = await database.pool.fetchval("SELECT current_database()")
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(database.pool.acquire())
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        yield
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


async def test_a_heartbeat_writes_one_row_and_one_redis_key(
    registry: ProcessRegistry, database: Database, redis: ArqRedis
) -> None:
    first = await registry.send_heartbeat()
    second = await registry.send_heartbeat()

    (row,) = await list_processes(database)
    assert (row.id, row.kind, row.name) == (registry.process.id, "worker", "here:1")
    assert row.is_alive
    assert row.redis_seen_at is not None
    assert row.started_at < row.seen_at
    assert await marked_ids(redis) == {registry.process.id}
    assert first is not None
    assert second is not None
    assert first.started == second.started == row.started_at.timestamp()
    assert [presence.process_id for presence in second.presences or ()] == [registry.process.id]


async def test_processes_of_one_database_and_one_redis_see_each_other(
    registry: ProcessRegistry, database: Database, redis: ArqRedis
) -> None:
    limits = {"KIE_POLLS_PER_SECOND_PER_TASK": 2}
    other = ProcessRegistry(database, redis, a_process("there:2", limits=limits))
    api = ProcessRegistry(database, redis, a_process("here:3", "api"))
    for one in (registry, other, api):
        await one.send_heartbeat()

    seen = await registry.send_heartbeat()

    assert seen is not None
    (worker,) = seen.workers
    assert (worker.id, worker.name, worker.limits) == (other.process.id, "there:2", limits)
    assert worker.marked >= worker.started
    assert {presence.name for presence in seen.presences or ()} == {"here:1", "there:2", "here:3"}
    assert not seen.unknown_ids


async def test_a_redis_key_of_another_database_is_reported(
    registry: ProcessRegistry, redis: ArqRedis
) -> None:
    stranger = a_process("strange:1")
    await redis.zadd(
        PRESENCES_KEY,
        {
            f'1 {{"id":"{stranger.id}","kind":"worker","name":"strange:1","database":"d"}}': (
                9_999_999_999_999
            )
        },
    )

    seen = await registry.send_heartbeat()

    assert seen is not None
    assert seen.unknown_ids == {stranger.id}


@pytest.mark.parametrize(
    ("wrong_by", "seconds"), [(0.0, 0.0), (1800.0, 1800.0), (-3600.0, -3600.0)]
)
async def test_the_skew_is_measured_at_each_heartbeat(
    database: Database, redis: ArqRedis, wrong_by: float, seconds: float
) -> None:
    registry = ProcessRegistry(
        database,
        redis,
        a_process(),
        clock=ServerClock(local=lambda: datetime.now(UTC) + timedelta(seconds=wrong_by)),
    )
    await registry.send_heartbeat()
    await registry.send_heartbeat()

    assert registry.clock_skew is not None
    assert abs(registry.clock_skew.seconds - seconds) <= registry.clock_skew.error_seconds + 0.002
    (row,) = await list_processes(database)
    assert row.clock_skew_seconds == pytest.approx(seconds, abs=1.0)


async def test_without_redis_the_row_says_so_and_stays_alive(
    database: Database, redis: ArqRedis
) -> None:
    async with connect_redis("unix:///nowhere/redis.sock") as nowhere:
        registry = ProcessRegistry(database, nowhere, a_process())
        heartbeat = await registry.send_heartbeat()

    (row,) = await list_processes(database)
    assert heartbeat is not None
    assert heartbeat.presences is None
    assert row.is_alive
    assert row.redis_seen_at is None
    assert "Redis does not answer" in row.detail["redis_error"]
    assert registry.last_redis_error is not None
    assert registry.last_error is None


async def test_a_redis_that_refuses_writes_is_reported_in_its_own_words(
    registry: ProcessRegistry, redis: ArqRedis
) -> None:
    await registry.send_heartbeat()
    await redis.config_set("maxmemory", "1")
    try:
        await registry.send_heartbeat()
        assert "command not allowed when used memory" in str(registry.last_redis_error)
    finally:
        await redis.config_set("maxmemory", "0")
    await registry.send_heartbeat()
    assert registry.last_redis_error is None
    assert registry.redis_failing_since is None


async def test_a_postgres_that_refuses_writes_is_reported_in_its_own_words(
    registry: ProcessRegistry, database: Database, database_url: str, redis: ArqRedis
) -> None:
    await registry.send_heartbeat()
    async with read_only(database), connect_database(database_url) as demoted:
        other = ProcessRegistry(demoted, redis, a_process())
        assert await other.send_heartbeat() is None
        assert "read-only transaction" in str(other.last_error)
        since = other.failing_since
        assert since is not None
        await other.send_heartbeat()
        assert other.failing_since == since
        # Without a row there is no Redis key: it would be one of another database's process.
        assert await marked_ids(redis) == {registry.process.id}


async def test_a_process_that_stopped_is_distinguished_from_one_that_died(
    registry: ProcessRegistry, database: Database, redis: ArqRedis
) -> None:
    killed = ProcessRegistry(database, redis, a_process("killed:1"))
    async with registry.running():
        await killed.send_heartbeat()

        async def is_there() -> bool:
            return len(await marked_ids(redis)) == 2

        await eventually(is_there, "both are recorded, in Postgres first")
    await database.pool.execute(
        "UPDATE processes SET started_at = now() - interval '1 min',"
        " seen_at = now() - interval '16 s', redis_seen_at = now() - interval '16 s'"
        " WHERE name = 'killed:1'"
    )

    rows = {row.name: row for row in await list_processes(database)}
    assert not rows["here:1"].is_alive
    assert rows["here:1"].stopped_at is not None
    assert not rows["killed:1"].is_alive
    assert rows["killed:1"].stopped_at is None
    assert rows["killed:1"].seen_seconds_ago > ALIVE_SECONDS
    assert await marked_ids(redis) == {killed.process.id}


class LosingRedis(Redis):
    """A client that executes each script and loses the reply."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if args[0] == "EVALSHA":
            raise ConnectionLost("the reply is lost")
        return reply


@pytest.fixture
async def written_without_reply(database: Database, redis: ArqRedis) -> ProcessRegistry:
    """A process that has written its presence and does not know it."""
    losing = LosingRedis(connection_pool=redis.connection_pool)
    losing_registry = ProcessRegistry(database, losing, a_process())
    await losing_registry.send_heartbeat()
    assert isinstance(losing_registry.last_redis_error, RedisDown)
    assert await marked_ids(redis) == {losing_registry.process.id}
    return losing_registry


async def test_a_process_that_stops_before_the_reply_to_its_first_write_leaves_no_presence(
    written_without_reply: ProcessRegistry, redis: ArqRedis
) -> None:
    await written_without_reply.stop()
    assert await marked_ids(redis) == set()


async def test_a_presence_whose_first_reply_was_lost_is_not_written_twice(
    written_without_reply: ProcessRegistry, redis: ArqRedis
) -> None:
    (before,) = await redis.zrange(PRESENCES_KEY, 0, -1)
    await asyncio.gather(*(written_without_reply.send_heartbeat() for _ in range(3)))
    assert await redis.zrange(PRESENCES_KEY, 0, -1) == [before]


async def test_a_stop_removes_no_presence_but_its_own(
    written_without_reply: ProcessRegistry, registry: ProcessRegistry, redis: ArqRedis
) -> None:
    await redis.zadd(PRESENCES_KEY, {"without-a-space": 9_999_999_999_999})
    await registry.send_heartbeat()
    await written_without_reply.stop()
    assert await marked_ids(redis) == {registry.process.id}


async def test_rows_of_long_ago_are_deleted_and_marks_expire(
    registry: ProcessRegistry, database: Database, redis: ArqRedis
) -> None:
    old: dict[str, Any] = {}
    for name in ("a day", "an hour"):
        old[name] = ProcessRegistry(database, redis, a_process(name))
        await old[name].send_heartbeat()
    for name, age in (("a day", "25 h"), ("an hour", "1 h")):
        await database.pool.execute(
            "UPDATE processes SET started_at = now() - $2::text::interval,"
            " seen_at = now() - $2::text::interval WHERE name = $1",
            name,
            age,
        )
    # The next process deletes entries that have expired by the clock of Redis.
    for member, score in await redis.zrange(PRESENCES_KEY, 0, -1, withscores=True):
        await redis.zadd(PRESENCES_KEY, {member: score - PRESENCE_TTL_MS - 1})

    heartbeat = await registry.send_heartbeat()

    assert heartbeat is not None
    assert [presence.process_id for presence in heartbeat.presences or ()] == [registry.process.id]
    names = {row.name for row in await list_processes(database, look_back_seconds=1e6)}
    assert names == {"an hour", "here:1"}
    assert 0 < await redis.pttl(PRESENCES_KEY) <= PRESENCE_TTL_MS


async def test_the_service_role_may_write_heartbeats_and_readers_may_only_read(
    registry: ProcessRegistry, database: Database, database_url: str, redis: ArqRedis
) -> None:
    old = ProcessRegistry(database, redis, a_process("old"))
    await old.send_heartbeat()
    await database.pool.execute(
        "UPDATE processes SET started_at = '2020-01-01', seen_at = '2020-01-02'"
    )
    service_url = f"{database_url}?options=-c%20role%3Ddarkroom_service"
    async with connect_database(service_url) as service:
        assert await service.pool.fetchval("SELECT current_user") == "darkroom_service"
        beating = ProcessRegistry(service, redis, a_process("mine"))
        await beating.send_heartbeat()
        assert beating.last_error is None
        await beating.stop()
        assert [row.name for row in await list_processes(service, look_back_seconds=1e9)] == [
            "mine"
        ]
    for role in ("darkroom_readonly", "darkroom_admin"):
        async with connect_database(f"{database_url}?options=-c%20role%3D{role}") as reader:
            assert len(await list_processes(reader)) == 1
            refused = ProcessRegistry(reader, redis, a_process("reader"))
            await refused.send_heartbeat()
            assert "permission denied" in str(refused.last_error)


async def test_many_processes_may_send_heartbeats_and_delete_at_once(
    database: Database, redis: ArqRedis
) -> None:
    registries = [ProcessRegistry(database, redis, a_process(str(n))) for n in range(8)]
    await asyncio.gather(*(one.send_heartbeat() for one in registries))
    for _ in range(5):
        await database.pool.execute(
            "INSERT INTO processes (id, kind, name, version, redis, started_at, seen_at)"
            " SELECT gen_random_uuid(), 'api', 'old', '1', 'r', '2020-01-01', '2020-01-02'"
            " FROM generate_series(1, 50)"
        )
        await asyncio.gather(*(one.send_heartbeat() for one in registries))
    assert [one.last_error for one in registries] == [None] * 8
    assert len(await list_processes(database, look_back_seconds=1e9)) == 8


async def test_an_idle_process_sends_one_command_and_one_statement_per_heartbeat(
    database: Database, redis: ArqRedis
) -> None:
    counted = Counted(database)
    registry = ProcessRegistry(counted, redis, a_process())
    await registry.send_heartbeat()
    counted.asked.clear()
    before = (await redis.info("stats"))["total_commands_processed"]
    for _ in range(10):
        await registry.send_heartbeat()
    # The script's own commands count as well, and the query for the count.
    commands = (await redis.info("stats"))["total_commands_processed"] - before
    assert counted.asked == ["record_process"] * 10
    assert commands <= 10 * 6 + 2


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://:secret@cache.local:6380/2", "cache.local:6380/2"),
        ("redis://cache.local", "cache.local:6379/0"),
        ("rediss://user:p%40ss@[::1]:7000/?db=3", "[::1]:7000/3"),
        ("unix:///run/valkey.sock?db=1", "/run/valkey.sock/1"),
        ("unix://:secret@/run/valkey.sock", "/run/valkey.sock/0"),
    ],
)
def test_a_redis_is_named_without_its_password(url: str, place: str) -> None:
    assert redis_address(url) == place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:secret@db.local:5433/darkroom", "db.local:5433/darkroom"),
        ("postgres://me:secret@a:1,b:2/darkroom?target_session_attrs=any", "a:1,b:2/darkroom"),
        ("postgresql:///darkroom?host=/run/pg&port=5433", "/run/pg:5433/darkroom"),
    ],
)
def test_a_database_is_named_without_its_password(url: str, place: str) -> None:
    assert database_address(url) == place
