"""Clients of a pair of servers connect to the new primary without a restart."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest
from arq.connections import ArqRedis
from pydantic import ValidationError

from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.migrations import migrate, require_current_schema
from shared.adapters.postgres.primary_host import connect_to_primary
from shared.adapters.redis.deliveries import (
    DeliveryQueue,
    connect_redis,
)
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.adapters.redis.server_pool import ANSWER_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS
from shared.errors import DependencyDown, RedisDown
from shared.redis_url.redis_url import read_redis_url, redis_address
from shared.settings import Settings
from tests.failover.failover_servers import ServerPrograms, free_port
from tests.failover.postgres_pair import PostgresPair, running_postgres_pair
from tests.failover.valkey_pair import SERVICE, ValkeyPair, running_valkey_pair
from tests.support.deployment import eventually

_MOVED_SECONDS = 15.0

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def _programs() -> AsyncIterator[ServerPrograms]:
    with TemporaryDirectory(prefix="failover-") as folder:
        Path(folder).chmod(0o755)
        yield ServerPrograms(Path(folder) / "servers")


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresPair]:
    """A primary and a synchronous standby."""
    async with _programs() as programs, running_postgres_pair(programs) as pair:
        yield pair


@pytest.fixture
async def valkey() -> AsyncIterator[ValkeyPair]:
    """A primary, a replica and three Sentinels."""
    async with _programs() as programs, running_valkey_pair(programs) as pair:
        yield pair


async def test_a_pool_continues_at_the_standby_that_was_promoted(postgres: PostgresPair) -> None:
    await migrate(postgres.url)
    await require_current_schema(postgres.url)
    async with connect_database(postgres.url, connections=4) as database:
        await asyncio.gather(*(database.ping() for _ in range(4)))
        await postgres.kill_primary()
        await postgres.promote()
        began = monotonic()

        async def is_writable() -> bool:
            try:
                return bool(await database.fetch("create_account", "after", 0, None))
            except DependencyDown:
                return False

        await eventually(is_writable, "the new primary takes writes", _MOVED_SECONDS)
        assert monotonic() - began < _MOVED_SECONDS


async def test_a_host_that_is_dead_without_a_word_does_not_hide_the_primary(
    postgres: PostgresPair,
) -> None:
    # It accepts connections and never answers, as behind a firewall that drops packets.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        port = silent.getsockname()[1]
        hosts = f"127.0.0.1:{port},127.0.0.1:{postgres.primary.port}"
        began = monotonic()
        connection = await connect_to_primary(
            f"postgresql://darkroom@{hosts}/darkroom", timeout=5.0
        )
        assert monotonic() - began < 2
        assert await connection.fetchval("SELECT pg_is_in_recovery()") is False
        await connection.close()


async def test_of_several_hosts_a_standby_is_never_taken(postgres: PostgresPair) -> None:
    hosts = f"127.0.0.1:{postgres.standby.port},127.0.0.1:{postgres.primary.port}"
    for _ in range(3):
        connection = await connect_to_primary(
            f"postgresql://darkroom@{hosts}/darkroom", timeout=5.0
        )
        assert await connection.fetchval("SELECT pg_is_in_recovery()") is False
        await connection.close()


async def test_commands_and_messages_continue_at_the_replica_that_sentinels_promoted(
    valkey: ValkeyPair,
) -> None:
    async with connect_redis(valkey.url, connections=5) as redis:
        await asyncio.gather(*(redis.incr("count") for _ in range(5)))
        await valkey.kill_primary()
        await valkey.until_promoted()
        began = monotonic()
        await eventually(lambda: _works(redis), "commands work again", _MOVED_SECONDS)
        assert monotonic() - began < _MOVED_SECONDS
        await valkey.add_replica()


@dataclass(slots=True)
class _Commands:
    """The outcomes of commands that several callers send without a pause."""

    longest_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    async def give(self, redis: ArqRedis, until: asyncio.Event) -> None:
        """Send one command after the other. Raises every error other than `RedisDown`."""
        while not until.is_set():
            began = monotonic()
            try:
                with translated_redis_errors():
                    await redis.incr("given")
            except RedisDown as error:
                self.errors.append(str(error))
            self.longest_seconds = max(self.longest_seconds, monotonic() - began)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _commands(redis: ArqRedis) -> AsyncIterator[_Commands]:
    commands, end = _Commands(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(commands.give(redis, end))
        try:
            yield commands
        finally:
            end.set()


@pytest.mark.parametrize("is_first_a_replica", [False, True], ids=["by Sentinel", "by hand before"])
async def test_a_primary_that_was_demoted_alive_is_left(
    valkey: ValkeyPair, is_first_a_replica: bool
) -> None:
    async with connect_redis(valkey.url, connections=5) as redis:
        # Pooled connections, all open to the current primary.
        await asyncio.gather(*(redis.incr("before") for _ in range(5)))
        async with _commands(redis) as commands:
            if is_first_a_replica:
                held_open = await _connections(valkey)
                await valkey.order(valkey.primary, "REPLICAOF", "127.0.0.1", "1")

                async def are_dropped() -> bool:
                    return not held_open & await _connections(valkey)

                await eventually(are_dropped, "the open connections are dropped", 5)
                assert any("READONLY" in error for error in commands.errors)
            await valkey.demote_primary()
            began, given = monotonic(), int(await valkey.order(valkey.primary, "GET", "given"))

            async def are_served() -> bool:
                return int(await valkey.order(valkey.primary, "GET", "given")) > given

            await eventually(are_served, "commands reach the new primary", 30)
            assert monotonic() - began < _MOVED_SECONDS
        assert commands.longest_seconds < ANSWER_TIMEOUT_SECONDS + CONNECT_TIMEOUT_SECONDS
        assert int(await redis.get("before") or 0) == 5
        # Every connection of the pool leads to the new primary, and none is refused.
        await asyncio.gather(*(redis.incr("after all") for _ in range(5)))
    assert await valkey.order(valkey.primary, "GET", "after all") == b"5"


async def _connections(valkey: ValkeyPair) -> set[str]:
    """Return the ids of the connections of Python clients to the primary."""
    listed = await valkey.order(valkey.primary, "CLIENT", "LIST", "TYPE", "NORMAL")
    lines = [line for line in listed.decode().splitlines() if "lib-name=redis-py" in line]
    return {line.split()[0] for line in lines}


async def test_one_dead_and_one_mistaken_sentinel_are_outvoted(valkey: ValkeyPair) -> None:
    hosts = f"127.0.0.1:{free_port()}," + ",".join(
        f"127.0.0.1:{node.port}" for node in valkey.sentinels
    )
    async with connect_redis(f"redis+sentinel://{hosts}/{SERVICE}", connections=2) as redis:
        assert await _works(redis)


async def test_an_unknown_service_is_named(valkey: ValkeyPair) -> None:
    url = valkey.url.replace(f"/{SERVICE}/", "/another/")
    async with connect_redis(url, connections=1) as redis:
        with pytest.raises(DependencyDown, match="another"):
            await DeliveryQueue(redis).ping()


async def _works(redis: ArqRedis) -> bool:
    try:
        await DeliveryQueue(redis).ping()
        await redis.set("after", 1)
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis+sentinel://a,b:1/s", "a:26379,b:1/s/0"),
        ("rediss+sentinel://u:secret@a/s/3?sentinel_password=hidden", "a:26379/s/3"),
        ("redis+sentinel://[::1]:5,b/main", "[::1]:5,b:26379/main/0"),
    ],
)
def test_a_url_of_sentinels_is_read_and_shown_without_its_passwords(url: str, place: str) -> None:
    Settings(redis_url=url)
    assert redis_address(url) == place
    assert read_redis_url(url).hosts


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis+sentinel://a:1", "names a service"),
        ("redis+sentinel://a:x/s", "host or host:port"),
        ("redis+sentinel://a,,b/s", "host or host:port"),
        ("redis+sentinel://a/s/first", "must be a number"),
        ("redis+sentinel://a/s?db=3", "no parameter 'db'"),
    ],
)
def test_a_malformed_url_of_sentinels_is_refused_in_a_sentence(url: str, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Settings(redis_url=url)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgresql://u@a,b/d?target_session_attrs=any", "say read-write"),
        ("postgresql://u@a,b/d?target_session_attrs=prefer-standby", "allowed are any, read-write"),
        ("postgresql://u@a,b:x/d", "host or host:port"),
        ("postgresql://u@a,,b/d", "host or host:port"),
    ],
)
def test_hosts_without_a_primary_are_refused_in_a_sentence(url: str, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Settings(database_url=url)
