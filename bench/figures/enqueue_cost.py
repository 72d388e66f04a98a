"""The figures P5 and P6: the cost of an enqueue, compared with the bare calls."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import asyncpg
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from bench.measurement.bench_deployment import ACCOUNT, BenchDeployment
from bench.measurement.pipelines import order_of
from producer import Producer

MANY = 10_000
SINGLES = 300
_AT_ONCE = 64
_COMMIT = "INSERT INTO peers.jobs (id, account_id, prompt, quantity) VALUES ($1, 'peers', $2, $3)"


@dataclass(frozen=True, slots=True)
class EnqueueRates:
    """One round: rates in jobs per second, and medians in seconds."""

    many_rate: float
    arq_rate: float
    single_seconds: float
    bare_seconds: float


async def measure_enqueueing(deployment: BenchDeployment, rounds: int) -> list[EnqueueRates]:
    """Enqueue in each way, once per round. No worker runs."""
    await deployment.start_over()
    settings = RedisSettings(unix_socket_path=deployment.servers.redis_url.removeprefix("unix://"))
    arq = await create_pool(settings)
    postgres = await asyncpg.connect(deployment.servers.database_url)
    try:
        async with Producer.connect_to(deployment.servers) as producer:
            await _enqueue_many(producer, MANY // 10)
            await _enqueue_to_arq(arq, MANY // 10)
            found = []
            for number in range(rounds):
                found.append(await _round(producer, arq, postgres, number))
                sys.stderr.write(f"round {number + 1}: {found[-1]}\n")
                await deployment.flush_redis()
            return found
    finally:
        await postgres.close()
        await arq.aclose()


async def _round(
    producer: Producer, arq: ArqRedis, postgres: asyncpg.Connection[Any], number: int
) -> EnqueueRates:
    async def single(_: int) -> None:
        order = order_of(0)
        await producer.enqueue(order.request, account_id=ACCOUNT)

    async def bare(index: int) -> None:
        await postgres.execute(_COMMIT, number * SINGLES + index, "a prompt", 1)
        await arq.enqueue_job("submit", index)

    parts: list[Callable[[], Awaitable[float]]] = [
        lambda: _enqueue_many(producer, MANY),
        lambda: _enqueue_to_arq(arq, MANY),
        lambda: _middle(single),
        lambda: _middle(bare),
    ]
    results = dict.fromkeys(range(len(parts)), 0.0)
    # Every other round is in reverse order, so that none is always first.
    for index in list(results)[:: 1 if number % 2 == 0 else -1]:
        results[index] = await parts[index]()
    return EnqueueRates(*(results[index] for index in sorted(results)))


async def _enqueue_many(producer: Producer, jobs: int) -> float:
    orders = [order_of(number) for number in range(jobs)]
    started_at = time.perf_counter()
    await producer.enqueue_many(orders)
    return jobs / (time.perf_counter() - started_at)


async def _enqueue_to_arq(arq: ArqRedis, jobs: int) -> float:
    started_at = time.perf_counter()
    for start in range(0, jobs, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, jobs))
        await asyncio.gather(*(arq.enqueue_job("submit", number) for number in numbers))
    return jobs / (time.perf_counter() - started_at)


async def _middle(once: Callable[[int], Awaitable[None]]) -> float:
    """Return the median time of sequential calls."""
    seconds = []
    for index in range(SINGLES):
        started_at = time.perf_counter()
        await once(index)
        seconds.append(time.perf_counter() - started_at)
    return median(seconds)
