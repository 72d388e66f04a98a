"""Periodic work: one run per interval over all workers, by no date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from arq.connections import ArqRedis

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.redis.deliveries import connect_redis
from shared.errors import RedisDown
from tests.support.deployment import Deployment, eventually
from worker.bootstrap import open_worker
from worker.dependencies import always_true
from worker.queue.lanes import build_periodic
from worker.queue.periodic_work import PeriodicRunner, PeriodicWork
from worker.recovery.reconciler import Reconciler


class Runs:
    """Counts its runs; the first few may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.moments: list[float] = []
        self._failures = failures

    async def run(self) -> None:
        """Note a run."""
        self.moments.append(asyncio.get_running_loop().time())
        if len(self.moments) <= self._failures:
            raise ZeroDivisionError("a bug")

    async def have(self, count: int) -> None:
        """Wait for so many runs."""

        async def enough() -> bool:
            return len(self.moments) >= count

        await eventually(enough, f"{count} runs")


@asynccontextmanager
async def running(redis: ArqRedis, runs: Runs, workers: int, seconds: float) -> AsyncIterator[None]:
    await redis.flushall()
    work = PeriodicWork("test", seconds, runs.run)
    tasks = [
        asyncio.create_task(
            PeriodicRunner(redis, work, f"test:{number}", always_true).run_until_cancelled()
        )
        for number in range(workers)
    ]
    try:
        yield
    finally:
        await stop_tasks(tasks)


@pytest.mark.parametrize("workers", [1, 4])
async def test_any_number_of_workers_run_it_once_per_interval(
    redis: ArqRedis, workers: int
) -> None:
    runs = Runs()
    async with running(redis, runs, workers, 0.2):
        await runs.have(5)
    gaps = [after - before for before, after in zip(runs.moments, runs.moments[1:], strict=False)]
    assert min(gaps) > 0.15, gaps


async def test_an_error_of_the_work_does_not_end_it(redis: ArqRedis) -> None:
    runs = Runs(failures=2)
    async with running(redis, runs, 1, 0.05):
        await runs.have(4)


async def test_a_worker_that_dies_in_its_turn_is_replaced_by_another(redis: ArqRedis) -> None:
    await redis.flushall()
    runs = Runs()
    work = PeriodicWork("test", 0.3, runs.run)
    assert await PeriodicRunner(redis, work, "lost:1", always_true).run_if_due()
    other = PeriodicRunner(redis, work, "alive:1", always_true)
    assert not await other.run_if_due()

    async def has_its_turn() -> bool:
        return await other.run_if_due()

    await eventually(has_its_turn, "the turn of the other")
    assert len(runs.moments) == 2


async def test_a_wiped_redis_delays_nothing(redis: ArqRedis) -> None:
    await redis.flushall()
    runs = Runs()
    work = PeriodicRunner(redis, PeriodicWork("test", 3600, runs.run), "test:1", always_true)
    assert await work.run_if_due()
    await redis.flushall()
    assert await work.run_if_due()


async def test_without_redis_nothing_is_run_and_the_caller_gets_the_error() -> None:
    runs = Runs()
    async with connect_redis("redis://127.0.0.1:1", connections=1) as nobody:
        with pytest.raises(RedisDown):
            await PeriodicRunner(
                nobody, PeriodicWork("test", 5, runs.run), "a:1", always_true
            ).run_if_due()
    assert runs.moments == []


async def test_a_worker_that_may_not_claim_leaves_its_turn_to_another(
    redis: ArqRedis,
) -> None:
    await redis.flushall()
    runs, agreement = Runs(), {"proven": False}
    work = PeriodicWork("test", 3600, runs.run)
    doubtful = PeriodicRunner(redis, work, "doubtful:1", lambda: agreement["proven"])
    assert not await doubtful.run_if_due()
    assert runs.moments == []
    assert await redis.dbsize() == 0, "its turn was taken in a Redis that is not proven"
    assert await PeriodicRunner(redis, work, "proven:1", always_true).run_if_due()
    await redis.flushall()
    agreement["proven"] = True
    assert await doubtful.run_if_due()
    assert len(runs.moments) == 2


async def test_all_periodic_work_of_a_worker_asks_whether_it_may_claim(
    deployment: Deployment, redis: ArqRedis
) -> None:
    async with open_worker(deployment.settings) as resources:
        await resources.processes.wait_for_shared_redis()
        await redis.flushall()
        doubtful = replace(resources.deps, may_claim=lambda: False)
        for one in build_periodic(doubtful, Reconciler(doubtful)):
            assert not await one.run_if_due(), one.work.name
        ran = [
            one.work.name
            for one in build_periodic(resources.deps, Reconciler(resources.deps))
            if await one.run_if_due()
        ]
    assert ran == [
        *("reconcile", "check_balance", "check_late_tasks", "check_kie_models"),
        *("renew_files", "apply_scheduled_prices", "sum_settlements", "pruning"),
    ]
