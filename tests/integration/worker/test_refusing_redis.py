"""A Redis that answers and refuses: a replica, a full one, one that forbids, one that forgot."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from arq.connections import ArqRedis

from shared.adapters.embedded import acquire_servers
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane, connect_redis
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import RedisDown
from tests.integration.worker.bare_lanes import Runs, deliver, is_gone, lane_over, running, seen
from tests.support.deployment import eventually
from tests.support.tcp_relay import relay_to
from worker.batching.redis_scripts import RedisScripts


@pytest.fixture(scope="module")
def other_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey for this file only, whose settings may be changed."""
    home: Path = tmp_path_factory.mktemp("refusing")
    with acquire_servers(home, postgres=False, linger_seconds=0, fsync=False) as servers:
        assert servers.redis_url is not None
        yield servers.redis_url


@pytest.fixture
async def operator(other_valkey: str) -> AsyncIterator[ArqRedis]:
    """A connection that changes the server's settings. They are restored afterwards."""
    async with connect_redis(other_valkey) as operator:
        await operator.flushall()
        yield operator
        await _run(operator, "REPLICAOF", "NO", "ONE")
        for name, value in (
            ("maxmemory", 0),
            ("min-replicas-to-write", 0),
            ("replica-serve-stale-data", "yes"),
        ):
            await operator.config_set(name, value)


@pytest.fixture
async def redis(other_valkey: str) -> AsyncIterator[ArqRedis]:
    """Darkroom's client of that server."""
    async with connect_redis(other_valkey, connections=3) as redis:
        yield redis


async def demote(operator: ArqRedis) -> None:
    """Make it a replica of a primary that does not exist."""
    await _run(operator, "REPLICAOF", "127.0.0.1", "1")


async def demote_silently(operator: ArqRedis) -> None:
    """Make it a replica that serves nothing while it has no primary."""
    await operator.config_set("replica-serve-stale-data", "no")
    await demote(operator)


async def fill(operator: ArqRedis) -> None:
    """Leave no memory, and forbid to evict."""
    await operator.config_set("maxmemory", 1)


async def want_replicas(operator: ArqRedis) -> None:
    """Refuse to write without a replica, as a primary does that is cut off."""
    await operator.config_set("min-replicas-to-write", 1)


async def promote(operator: ArqRedis) -> None:
    """Make it a primary again."""
    await _run(operator, "REPLICAOF", "NO", "ONE")


async def remove_memory_limit(operator: ArqRedis) -> None:
    """Remove the memory limit."""
    await operator.config_set("maxmemory", 0)


async def want_no_replicas(operator: ArqRedis) -> None:
    """Write without replicas."""
    await operator.config_set("min-replicas-to-write", 0)


Change = Callable[[ArqRedis], Awaitable[None]]
REFUSALS = pytest.mark.parametrize(
    ("refuse", "mend", "words"),
    [
        (demote, promote, "READONLY You can't write against a read only replica"),
        (demote_silently, promote, "MASTERDOWN Link with MASTER is down|READONLY You can't write"),
        (fill, remove_memory_limit, "OOM command not allowed"),
        (want_replicas, want_no_replicas, "NOREPLICAS Not enough good replicas to write"),
    ],
    ids=["replica", "silent replica", "full", "cut off"],
)


@REFUSALS
async def test_an_alert_is_logged_with_its_text_and_its_end(
    redis: ArqRedis, operator: ArqRedis, refuse: Change, mend: Change, words: str
) -> None:
    delivery_queue, scripts = DeliveryQueue(redis), RedisScripts(redis)
    delivery = Delivery(uuid4(), Lane.SUBMIT)

    async def make_a_delivery() -> None:
        await delivery_queue.deliver([delivery])

    async def run_a_script() -> None:
        await scripts.run("account_brake_apply", ["darkroom:brake"], [1_000, 30_000, "busy", "429"])

    async def make_due_now() -> None:
        await delivery_queue.make_due_now(delivery.job_id, Lane.POLL)

    await refuse(operator)
    for write in (make_a_delivery, run_a_script, make_due_now, delivery_queue.ping):
        with pytest.raises(RedisDown, match="Redis cannot do this now") as caught:
            await write()
        assert re.search(words, str(caught.value))
    await mend(operator)
    for write in (make_a_delivery, run_a_script, make_due_now, delivery_queue.ping):
        await write()
    assert await delivery_queue.find_missing([delivery]) == []


async def test_behind_the_same_address_the_promoted_server_is_found(
    other_valkey: str, operator: ArqRedis, embedded_redis_url: str
) -> None:
    async with (
        relay_to(urlsplit(other_valkey).path) as address,
        connect_redis(f"redis://127.0.0.1:{address.port}", connections=5) as redis,
        connect_redis(embedded_redis_url) as promoted,
    ):
        delivery_queue = DeliveryQueue(redis)
        # Five connections to the old primary, all idle.
        await asyncio.gather(*(_run(redis, "WAIT", 0, 0) for _ in range(5)))
        await demote(operator)
        address.lead_to(urlsplit(embedded_redis_url).path)
        job_id = uuid4()
        with pytest.raises(RedisDown, match="READONLY"):
            await delivery_queue.deliver([Delivery(job_id, Lane.SUBMIT)])
        for _ in range(5):
            await delivery_queue.deliver([Delivery(job_id, Lane.SUBMIT)])
        assert await promoted.zscore(Lane.SUBMIT, Lane.SUBMIT.arq_id(job_id)) is not None
        assert int((await promoted.info("clients"))["connected_clients"]) >= 2


@pytest.mark.parametrize("forget", ["SCRIPT FLUSH", "FLUSHALL"])
async def test_a_server_without_our_scripts_is_given_them(
    redis: ArqRedis, operator: ArqRedis, forget: str
) -> None:
    delivery_queue, scripts = DeliveryQueue(redis), RedisScripts(redis)
    for _ in range(2):
        await delivery_queue.deliver([Delivery(uuid4(), Lane.SUBMIT)])
        await scripts.run("account_brake_reduce", ["darkroom:brake"], [])
        await _run(operator, *forget.split())


async def test_a_killed_script_is_no_answer_for_good(redis: ArqRedis, operator: ArqRedis) -> None:
    async def loop_for_ever() -> None:
        with translated_redis_errors():
            await _run(redis, "EVAL", "while true do end", 0)

    await operator.config_set("busy-reply-threshold", 50)
    loop = asyncio.create_task(loop_for_ever())
    delivery_queue = DeliveryQueue(redis)
    try:
        async with asyncio.timeout(10):
            with pytest.raises(RedisDown, match="cannot do this now: BUSY"):
                await _ping_until_refused(delivery_queue)
    finally:
        await _run(operator, "SCRIPT", "KILL")
    with pytest.raises(RedisDown, match=r"cannot do this now: .*[Ss]cript killed by user"):
        await loop
    await delivery_queue.ping()
    await operator.config_set("busy-reply-threshold", 5_000)


async def test_a_forbidden_key_is_named_by_the_server(
    other_valkey: str, operator: ArqRedis
) -> None:
    await _run(operator, "ACL", "SETUSER", "narrow", "on", ">pw", "~arq:*", "&*", "+@all")
    try:
        async with connect_redis(_as_user(other_valkey, "narrow")) as redis:
            with pytest.raises(RedisDown, match=r"cannot do this now: .*[Nn]o permissions|NOPERM"):
                await DeliveryQueue(redis).ping()
            with pytest.raises(RedisDown, match="cannot do this now: NOPERM"):
                await RedisScripts(redis).run("account_brake_reduce", ["darkroom:brake"], [])
            await _run(operator, "ACL", "SETUSER", "narrow", "~darkroom:*")
            await DeliveryQueue(redis).ping()
    finally:
        await _run(operator, "ACL", "DELUSER", "narrow")


async def test_a_rotated_password_is_reported_as_such(
    other_valkey: str, operator: ArqRedis
) -> None:
    await _run(operator, "ACL", "SETUSER", "app", "on", ">old", "~*", "&*", "+@all")
    try:
        async with connect_redis(_as_user(other_valkey, "app", "old")) as redis:
            await DeliveryQueue(redis).ping()
            await _run(operator, "ACL", "SETUSER", "app", "resetpass", ">new")
            await redis.connection_pool.disconnect()
            with pytest.raises(RedisDown, match="cannot do this now: invalid username-password"):
                await DeliveryQueue(redis).ping()
    finally:
        await _run(operator, "ACL", "DELUSER", "app")


async def test_our_own_key_patterns_are_all_that_is_asked_for(
    other_valkey: str, operator: ArqRedis
) -> None:
    """Every lane claims and ends a delivery as a user who may touch nothing else."""
    await _run(
        operator,
        *("ACL", "SETUSER", "darkroom", "on", ">pw", "resetchannels", "&darkroom:*"),
        *("~darkroom:*", "~arq:*", "+@all", "-@dangerous"),
    )
    try:
        async with connect_redis(_as_user(other_valkey, "darkroom")) as redis:
            runs = Runs()
            async with running(*(lane_over(redis, runs, lane=lane) for lane in Lane)):
                for lane in Lane:
                    (job_id,) = await deliver(redis, lane=lane)
                    await seen(partial(_has_run, runs, str(job_id)), f"a run in {lane}")
                    await eventually(partial(is_gone, redis, job_id, lane), "its end")
    finally:
        await _run(operator, "ACL", "DELUSER", "darkroom")


@pytest.fixture
def embedded_redis_url(embedded: object) -> str:
    """The URL of the server that every test shares."""
    url = getattr(embedded, "redis_url", None)
    assert isinstance(url, str)
    return url


def _as_user(url: str, name: str, password: str = "pw") -> str:  # noqa: S107
    parts = urlsplit(url)
    return f"unix://{name}:{password}@{parts.path}" + (f"?{parts.query}" if parts.query else "")


def _has_run(runs: Runs, job_id: str) -> bool:
    return runs.count[job_id] == 1


async def _ping_until_refused(delivery_queue: DeliveryQueue) -> None:
    while True:
        await delivery_queue.ping()


async def _run(operator: ArqRedis, *words: object) -> Any:
    return await operator.execute_command(*words)  # type: ignore[no-untyped-call]
