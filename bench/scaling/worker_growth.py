"""How throughput grows with workers, and the cost of one busy account compared with many."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
from redis.asyncio import Redis

from bench.measurement.bench_deployment import ACCOUNT, BenchDeployment
from bench.measurement.cpu_cores import busy_seconds
from bench.measurement.measured_process import cpu_seconds, running, suspended
from bench.measurement.pipelines import DarkroomPipeline, log_folder, order_of
from bench.measurement.worker_run import wait_until_all_ended
from producer import Order, Producer
from shared.adapters.postgres.database import connect_database
from shared.domain import job_events
from shared.domain.job import Job
from shared.kie_accounts import DEFAULT_ACCOUNT
from tests.support.example_jobs import polled
from worker.store.job_store import JobStore
from worker.store.settled_job import SettledJob

MANY_ACCOUNTS = 10_000
STORES = 4
"""The number of workers that settle at once. Each settles up to 100 jobs in a statement."""
CALL = 1_000
"""Orders in one `enqueue_many`, whose statement compares all accounts of a call."""
_UNDER_WAY = 400
"""Concurrent settlements over all stores."""
_GRANT = 1_000
Moved = TypeVar("Moved")


@dataclass(frozen=True, slots=True)
class WorkerGroupRun:
    """The results of a number of workers with the same jobs."""

    workers: int
    jobs_per_second: float
    cpu_ms_per_job: float
    """The sum over all worker processes."""
    redis_commands_per_job: float
    busy_cores: float
    """The whole machine."""


@dataclass(frozen=True, slots=True)
class AccountRates:
    """Jobs per second, with all jobs on one account and spread over many."""

    enqueued_hot: float
    enqueued_spread: float
    settled_hot: float
    settled_spread: float


async def measure_workers(deployment: BenchDeployment, workers: int, jobs: int) -> WorkerGroupRun:
    """Run the jobs on that many workers, which are started before."""
    await deployment.start_over()
    pipeline = DarkroomPipeline()
    async with AsyncExitStack() as stack, Redis.from_url(deployment.servers.redis_url) as redis:
        pids = []
        for number in range(workers):
            program = pipeline.worker(deployment)
            started = running(
                program.arguments,
                program.environ,
                folder=log_folder(deployment, f"worker {number}"),
                ready=program.ready,
            )
            pids.append(await stack.enter_async_context(started))
        async with AsyncExitStack() as still:
            for pid in pids:
                await still.enter_async_context(suspended(pid))
            await pipeline.place(deployment, jobs)
            await redis.config_resetstat()
            cpu, busy, started_at = sum(map(cpu_seconds, pids)), busy_seconds(), time.time()
        seconds = await wait_until_all_ended(deployment, pipeline) - started_at
        stats = await redis.info("commandstats")
        crew = WorkerGroupRun(
            workers=workers,
            jobs_per_second=jobs / seconds,
            cpu_ms_per_job=1000 * (sum(map(cpu_seconds, pids)) - cpu) / jobs,
            redis_commands_per_job=sum(stat["calls"] for stat in stats.values()) / jobs,
            busy_cores=(busy_seconds() - busy) / seconds,
        )
    sys.stderr.write(f"{crew}\n")
    return crew


async def measure_accounts(
    deployment: BenchDeployment, rounds: int, jobs: int
) -> list[AccountRates]:
    """Enqueue and settle as many jobs on one account as on many, in alternating order."""
    await _open_accounts(deployment)
    found = []
    for number in range(rounds):
        rates = {}
        for is_hot in (True, False) if number % 2 == 0 else (False, True):
            rates[is_hot] = await _enqueue_and_settle(deployment, jobs, is_hot=is_hot)
            await deployment.flush_redis()
        found.append(AccountRates(rates[True][0], rates[False][0], rates[True][1], rates[False][1]))
        sys.stderr.write(f"round {number + 1}: {found[-1]}\n")
    return found


async def _open_accounts(deployment: BenchDeployment) -> None:
    connection = await asyncpg.connect(deployment.servers.database_url)
    try:
        await connection.execute(
            "INSERT INTO accounts (id)"
            " SELECT 'many' || n FROM generate_series(0, $1::integer - 1) AS n",
            MANY_ACCOUNTS,
        )
        await connection.execute(
            "SELECT count(grant_credits('many' || n, $2::integer, 'for the measurement'))"
            "  FROM generate_series(0, $1::integer - 1) n",
            MANY_ACCOUNTS,
            _GRANT,
        )
    finally:
        await connection.close()


async def _enqueue_and_settle(
    deployment: BenchDeployment, jobs: int, *, is_hot: bool
) -> tuple[float, float]:
    orders = [
        Order(
            request=order_of(number).request,
            account_id=ACCOUNT if is_hot else f"many{number % MANY_ACCOUNTS}",
        )
        for number in range(jobs)
    ]
    async with Producer.connect_to(deployment.servers) as producer:
        started_at = time.perf_counter()
        made: list[Job] = []
        for start in range(0, jobs, CALL):
            made += await producer.enqueue_many(orders[start : start + CALL])
        enqueued = jobs / (time.perf_counter() - started_at)
    async with AsyncExitStack() as stack:
        stores = [
            JobStore(
                await stack.enter_async_context(
                    connect_database(deployment.servers.database_url, connections=10)
                )
            )
            for _ in range(STORES)
        ]
        claimed = await _each(stores, made, _claim)
        submitted = await _each(stores, claimed, _submit)
        started_at = time.perf_counter()
        await _each(stores, submitted, _settle)
        return enqueued, jobs / (time.perf_counter() - started_at)


async def _each(
    stores: Sequence[JobStore],
    jobs: Sequence[Job],
    move: Callable[[JobStore, Job], Coroutine[Any, Any, Moved]],
) -> list[Moved]:
    """Move every job. Each store moves its share, with as many calls at once as a worker."""
    moved: list[Moved] = []
    waiting = list(enumerate(jobs))

    async def work() -> None:
        while waiting:
            number, job = waiting.pop()
            moved.append(await move(stores[number % len(stores)], job))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_UNDER_WAY):
            tasks.create_task(work())
    return moved


async def _claim(store: JobStore, job: Job) -> Job:
    claimed = job_events.Claimed(
        token=f"bench-{uuid4().hex}", worker="bench", provider_account=DEFAULT_ACCOUNT
    )
    return await store.claim(job, claimed)


async def _submit(store: JobStore, job: Job) -> Job:
    return await store.record_submitted(job, job_events.Submitted(uuid4().hex, 1800.0))


async def _settle(store: JobStore, job: Job) -> SettledJob:
    urls = tuple(f"https://example.com/{number}.png" for number in range(job.quantity))
    return await store.settle(polled(job), job_events.Completed(urls, None), "current")
