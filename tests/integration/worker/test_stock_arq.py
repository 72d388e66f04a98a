"""Our deliveries are arq jobs: either worker runs deliveries of either side."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus
from arq.worker import Worker, func

from shared.adapters.redis.deliveries import Lane, connect_redis, deserialize, serialize
from tests.integration.worker.bare_lanes import (
    Runs,
    blocked_by,
    deliver,
    is_gone,
    lane_over,
    running,
    score_of,
    seen,
)
from tests.support.deployment import eventually
from worker.queue.leased_worker import Snoozed

# arq's own worker leaves a pipeline unclosed where it is cancelled in the middle of a command.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unclosed client session:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def run_stock_worker(redis_url: str, lane: Lane, runs: Runs, runs_to_do: int) -> None:
    """Run arq's own worker with its default setup, until it has made so many runs."""
    async with connect_redis(redis_url) as redis:
        worker = Worker(
            functions=[func(cast("Any", runs.run), name=lane.function)],
            queue_name=lane.value,
            redis_pool=redis,
            job_serializer=serialize,
            job_deserializer=deserialize,
            handle_signals=False,
            keep_result=0,
            poll_delay=0.02,
        )
        working = asyncio.create_task(worker.async_run())
        try:
            await runs.reach(runs_to_do)
            await seen(lambda: not runs.under_way.total(), "the last run has ended")
        finally:
            async with asyncio.timeout(10):
                # Stock arq, too, may lose a cancellation to the client's way of sending.
                while not working.done():
                    working.cancel()
                    await asyncio.wait([working], timeout=0.1)
            await asyncio.gather(*worker.tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_stock_worker_runs_our_deliveries(
    redis: ArqRedis, embedded_redis_url: str, lane: Lane
) -> None:
    ids = await deliver(redis, 20, lane=lane)
    runs = Runs()
    await run_stock_worker(embedded_redis_url, lane, runs, 20)
    assert runs.count == {str(job_id): 1 for job_id in ids}
    assert [await is_gone(redis, job_id, lane) for job_id in ids] == [True] * 20


async def test_a_stock_worker_understands_a_snooze(
    redis: ArqRedis, embedded_redis_url: str
) -> None:
    async def snooze_once(job_id: str) -> None:
        if runs.count[job_id] == 1:
            raise Snoozed(0.1)

    runs = Runs(snooze_once)
    (job_id,) = await deliver(redis)
    await run_stock_worker(embedded_redis_url, Lane.POLL, runs, 2)
    assert runs.count == {str(job_id): 2}


@pytest.mark.parametrize("lane", list(Lane))
async def test_our_worker_runs_what_arqs_enqueue_job_made(redis: ArqRedis, lane: Lane) -> None:
    runs = Runs()
    job_id = str(uuid4())
    job = await redis.enqueue_job(lane.function, job_id, _queue_name=lane.value)
    assert job is not None
    async with running(lane_over(redis, runs, lane=lane)):
        await runs.reach(1)
        await _has_status(redis, job.job_id, lane, JobStatus.not_found)
    assert runs.count == {job_id: 1}


async def test_a_stock_worker_and_ours_side_by_side_run_everything_once(
    redis: ArqRedis, embedded_redis_url: str
) -> None:
    async def take_a_moment(_: str) -> None:
        await asyncio.sleep(0.005)

    runs = Runs(take_a_moment)
    ids = await deliver(redis, 120)
    async with running(lane_over(redis, runs)):
        await run_stock_worker(embedded_redis_url, Lane.POLL, runs, 120)
        for job_id in ids:
            await eventually(lambda job_id=job_id: is_gone(redis, job_id), "it is gone")  # type: ignore[misc]
    assert runs.count == {str(job_id): 1 for job_id in ids}
    assert runs.most_of_one_at_once == 1


async def test_job_status_tells_where_a_delivery_of_ours_is(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    (due,) = await deliver(redis)
    (later,) = await deliver(redis, delay_ms=60_000)
    await _has_status(redis, Lane.POLL.arq_id(due), Lane.POLL, JobStatus.queued)
    await _has_status(redis, Lane.POLL.arq_id(later), Lane.POLL, JobStatus.deferred)
    async with running(lane_over(redis, runs)):
        await runs.reach(1)
        await _has_status(redis, Lane.POLL.arq_id(due), Lane.POLL, JobStatus.in_progress)
        gate.set()
        await _has_status(redis, Lane.POLL.arq_id(due), Lane.POLL, JobStatus.not_found)


async def test_job_info_reads_a_delivery_of_ours(redis: ArqRedis) -> None:
    (job_id,) = await deliver(redis)
    info = await _arq_job(redis, Lane.POLL.arq_id(job_id), Lane.POLL).info()
    assert info is not None
    assert (info.function, list(info.args)) == ("poll_job", [str(job_id)])
    assert info.score == await score_of(redis, job_id)


def _arq_job(redis: ArqRedis, arq_id: str, lane: Lane) -> Job:
    return Job(arq_id, redis, _queue_name=lane.value, _deserializer=deserialize)


async def _has_status(redis: ArqRedis, arq_id: str, lane: Lane, wanted: JobStatus) -> None:
    job: Any = _arq_job(redis, arq_id, lane)

    async def is_there() -> bool:
        return bool(await job.status() == wanted)

    await eventually(is_there, f"{arq_id} is {wanted}")
