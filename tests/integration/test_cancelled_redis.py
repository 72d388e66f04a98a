"""A task that speaks to Redis ends when it is cancelled, wherever it is at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from arq.connections import ArqRedis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.adapters.redis.connection_pool import ReconnectingPool
from shared.adapters.redis.deliveries import connect_redis, open_redis
from shared.adapters.redis.subscription import subscribed
from shared.adapters.servers import Servers

_CONNECTIONS = 5
_ROUNDS = 5
_MOST_STEPS = 200
_REFUSAL = "return redis.error_reply('READONLY a replica now')"


async def _command(redis: ArqRedis) -> Any:
    return await redis.incr("count")


async def _pipeline(redis: ArqRedis) -> Any:
    async with redis.pipeline(transaction=True) as pipeline:
        for _ in range(20):
            pipeline.incr("count")
        return await pipeline.execute()


async def _connects_first(redis: ArqRedis) -> Any:
    await redis.connection_pool.disconnect()
    return await redis.incr("count")


async def _refused(redis: ArqRedis) -> Any:
    with suppress(ReadOnlyError):
        await cast("Awaitable[Any]", redis.eval(_REFUSAL, 0))


async def _crowd(redis: ArqRedis) -> Any:
    async with asyncio.TaskGroup() as group:
        for _ in range(3 * _CONNECTIONS):
            group.create_task(_command(redis))


async def _subscription(redis: ArqRedis) -> Any:
    async with subscribed(redis, "news") as messages:
        await redis.publish("news", "one")
        return await anext(messages)


_WORKS = (_command, _pipeline, _connects_first, _refused, _crowd, _subscription)


@pytest.mark.parametrize("work", _WORKS)
async def test_a_cancellation_at_any_step_of_a_command_ends_its_task(
    servers: Servers, work: Callable[[ArqRedis], Awaitable[Any]]
) -> None:
    lost = []
    async with connect_redis(servers.redis_url, connections=_CONNECTIONS) as redis:
        await work(redis)
        for number in range(_ROUNDS):
            for steps in range(_MOST_STEPS):
                task = asyncio.ensure_future(work(redis))
                for _ in range(steps):
                    await asyncio.sleep(0)
                if not task.cancel():
                    await task
                    break
                await asyncio.wait({task}, timeout=10)
                if not task.cancelled():
                    lost.append((number, steps))
            # The answers are those of the commands, and every connection can be had again.
            before = await redis.incr("count")
            assert await redis.incr("count") == before + 1
            async with asyncio.timeout(10), AsyncExitStack() as held:
                for _ in range(_CONNECTIONS):
                    await held.enter_async_context(redis.client())
    assert not lost, "cancelled in these rounds after so many steps, and went on all the same"


async def test_a_deadline_around_a_loop_of_commands_ends_it(servers: Servers) -> None:
    redis = open_redis(servers.redis_url, connections=1)
    try:
        for number in range(40):
            with pytest.raises(TimeoutError):
                await _count_for(redis, 0.01 + number / 10_000)
    finally:
        await redis.aclose(close_connection_pool=True)


async def _count_for(redis: ArqRedis, seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.timeout(seconds):
        while clock() - began < seconds + 2:
            await redis.incr("count")


class UnclosableConnection(UnixDomainSocketConnection):
    """A connection whose first close fails, as one does whose peer is silent."""

    failures_left = 1

    async def disconnect(self, nowait: bool = False) -> None:
        """Close the connection, and raise the first time."""
        await super().disconnect(nowait)
        if self.failures_left and not nowait:
            self.failures_left -= 1
            raise RedisTimeoutError("Timed out closing connection after 5")


async def test_a_connection_that_fails_to_close_is_returned_nevertheless(servers: Servers) -> None:
    path = urlsplit(servers.redis_url).path
    pool = ReconnectingPool(
        connection_class=UnclosableConnection, path=path, max_connections=1, timeout=5
    )
    async with ArqRedis(pool) as redis:
        for _ in range(2):
            await _refused(redis)
        assert await redis.ping()
    await pool.disconnect()


async def test_two_cancellations_at_any_step_of_a_close_leave_no_connection_open(
    servers: Servers,
) -> None:
    for steps in range(_MOST_STEPS):
        pools: list[ReconnectingPool] = []
        opened = asyncio.Event()
        task = asyncio.create_task(_hold_until_cancelled(servers.redis_url, pools, opened))
        await opened.wait()
        task.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        is_done = not task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert _open_connections(pools[0]) == 0, f"cancelled again after {steps} steps"
        if is_done:
            break


async def _hold_until_cancelled(
    url: str, pools: list[ReconnectingPool], opened: asyncio.Event
) -> None:
    async with connect_redis(url, connections=_CONNECTIONS) as redis:
        await _crowd(redis)
        pools.append(cast("ReconnectingPool", redis.connection_pool))
        opened.set()
        await asyncio.Event().wait()


async def test_a_command_that_still_runs_at_a_close_leaves_no_connection_open(
    servers: Servers,
) -> None:
    for steps in range(_MOST_STEPS):
        async with connect_redis(servers.redis_url, connections=1) as redis:
            command = asyncio.create_task(_command(redis))
            for _ in range(steps):
                await asyncio.sleep(0)
            has_ended = command.done()
        with suppress(RedisConnectionError):
            await command
        with suppress(RedisConnectionError):
            await _command(redis)
        pool = cast("ReconnectingPool", redis.connection_pool)
        assert _open_connections(pool) == 0, f"closed after {steps} steps of the command"
        if has_ended:
            break


def _open_connections(pool: ReconnectingPool) -> int:
    connections = [*pool._available_connections, *pool._in_use_connections]
    return sum(one.is_connected for one in connections)
