"""Waits end when the job's end is announced, when an announcement is lost, and at the timeout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from arq.connections import ArqRedis

from producer import Job, JobNotFound, JobState, Producer, WaitTimedOut
from producer.jobs.end_waiter import RECHECK_SECONDS, open_end_waiter
from producer.jobs.job_repository import JobRepository
from shared.adapters.postgres.database import Database, Queries
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import DeliveryQueue, open_redis
from shared.adapters.servers import Servers
from shared.redis_keys import CHANGES_CHANNEL
from tests.integration.producer.client_setup import open_account, producer_without_redis
from tests.support.deployment import eventually, text_to_image

PATIENCE_SECONDS = 20.0
STRANGE = "01a20600-4947-7353-888c-725e9420fbae"  # no job has this id


@asynccontextmanager
async def waiting(producer: Producer, *jobs: Job) -> AsyncIterator[list[asyncio.Task[Job]]]:
    """Start waiting for the jobs. Cancels the waits that remain at the end."""
    tasks = [
        asyncio.create_task(producer.wait(job.id, timeout_seconds=PATIENCE_SECONDS)) for job in jobs
    ]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_listening(redis: ArqRedis) -> None:
    """Wait until a client has subscribed to changes of jobs."""

    async def is_listening() -> bool:
        ((_, listeners),) = await redis.pubsub_numsub(CHANGES_CHANNEL)
        return bool(listeners)

    await eventually(is_listening, "somebody listens for changes")


async def enqueue(producer: Producer, times: int = 1) -> list[Job]:
    await open_account(producer)
    return [await producer.enqueue(text_to_image(), account_id="acme") for _ in range(times)]


async def test_an_end_is_pushed_to_every_waiter(producer: Producer, redis: ArqRedis) -> None:
    jobs = await enqueue(producer, times=5)
    async with waiting(producer, jobs[0]):
        await until_listening(redis)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for job in jobs:
        async with waiting(producer, job) as (wait,):
            await producer.cancel(job.id)
            assert (await wait).state == JobState.CANCELLED
    # Were they found by looking every two seconds, five in turn would take about ten.
    assert loop.time() - began < 2 * RECHECK_SECONDS


async def test_all_waiters_of_one_job_are_answered(producer: Producer, redis: ArqRedis) -> None:
    (job,) = await enqueue(producer)
    async with waiting(producer, *[job] * 10) as waits:
        await until_listening(redis)
        await producer.cancel(job.id)
        ended = await asyncio.gather(*waits)
    assert {one.state for one in ended} == {JobState.CANCELLED}


async def test_a_waiter_that_leaves_takes_nothing_from_the_others(
    producer: Producer, redis: ArqRedis
) -> None:
    (job,) = await enqueue(producer)
    async with waiting(producer, job, job) as (first, second):
        await until_listening(redis)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await producer.cancel(job.id)
        assert (await second).is_terminal


async def test_an_end_whose_push_was_lost_is_found_by_a_query(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    (job,) = await enqueue(producer)
    loop = asyncio.get_running_loop()
    async with waiting(producer, job) as (wait,):
        await until_listening(redis)
        began = loop.time()
        await JobRepository(database).cancel(job.id)  # tells nobody
        assert (await wait).state == JobState.CANCELLED
    assert loop.time() - began < 2 * RECHECK_SECONDS


async def test_a_lost_push_is_found_even_while_others_are_pushed_all_the_time(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    lost, open_job = await enqueue(producer, times=2)

    async def push_all_the_time() -> None:
        while True:
            await DeliveryQueue(redis).publish_changes([Change(open_job.id, has_ended=True)])
            await asyncio.sleep(RECHECK_SECONDS / 20)

    async with waiting(producer, lost, open_job) as (wait, other):
        await until_listening(redis)
        pushing = asyncio.create_task(push_all_the_time())
        try:
            await JobRepository(database).cancel(lost.id)
            async with asyncio.timeout(3 * RECHECK_SECONDS):
                assert (await wait).state == JobState.CANCELLED
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
        # A push is a hint: a waiter that gets it too early keeps waiting.
        assert not other.done()


async def test_without_redis_an_end_is_found_by_a_query(
    servers: Servers, database: Database, tmp_path: Path
) -> None:
    async with producer_without_redis(servers, tmp_path) as producer:
        (job,) = await enqueue(producer)
        async with waiting(producer, job) as (wait,):
            await JobRepository(database).cancel(job.id)
            async with asyncio.timeout(3 * RECHECK_SECONDS):
                assert (await wait).state == JobState.CANCELLED


async def test_nonsense_on_the_channel_does_no_harm(producer: Producer, redis: ArqRedis) -> None:
    (job,) = await enqueue(producer)
    async with waiting(producer, job) as (wait,):
        await until_listening(redis)
        for message in ("", "nonsense", f"!{uuid4()}", f"{job.id} !", f"!!{job.id}", b"\xff\xfe"):
            await redis.publish(CHANGES_CHANNEL, message)
        await producer.cancel(job.id)
        assert (await wait).is_terminal


async def test_a_job_that_has_ended_is_given_at_once(producer: Producer) -> None:
    (job,) = await enqueue(producer)
    await producer.cancel(job.id)
    assert (await producer.wait(str(job.id), timeout_seconds=0)).state == JobState.CANCELLED


async def test_a_wait_that_is_over_says_so_and_the_job_continues(producer: Producer) -> None:
    (job,) = await enqueue(producer)
    with pytest.raises(WaitTimedOut) as caught:
        await producer.wait(job.id, timeout_seconds=0.05)
    error = caught.value
    assert (error.job_id, error.state, error.timeout_seconds) == (str(job.id), "queued", 0.05)
    assert str(error) == f"job {job.id} is still queued after 0.05 s; it goes on"
    await producer.cancel(job.id)
    assert (await producer.wait(job.id, timeout_seconds=PATIENCE_SECONDS)).is_terminal


async def test_a_job_that_does_not_exist_is_not_found_whatever_is_asked(
    producer: Producer,
) -> None:
    for job_id in ("", "nonsense", "123", STRANGE[:-1], STRANGE):
        for ask in (producer.wait, producer.get, producer.cancel, producer.retry):
            with pytest.raises(JobNotFound) as caught:
                await ask(job_id)
            assert caught.value.job_id == job_id


class RecordingQueries:
    """Runs named queries, and keeps their names."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self.asked: list[str] = []

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        self.asked.append(query)
        return await self._queries.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        self.asked.append(query)
        return await self._queries.fetch_row(query, *args)


async def test_a_thousand_waits_ask_for_ids_and_states_alone(
    producer: Producer, database: Database, tmp_path: Path
) -> None:
    """A job that is waited for is read completely once, when it has ended."""
    jobs = await enqueue(producer, times=2)
    queries = RecordingQueries(database)
    redis = open_redis(f"unix://{tmp_path}/nobody.sock")
    async with open_end_waiter(JobRepository(queries), DeliveryQueue(redis)) as watch:
        waits = [
            asyncio.create_task(watch.wait(jobs[number % 2].id, PATIENCE_SECONDS))
            for number in range(1000)
        ]
        with pytest.raises(WaitTimedOut):
            await watch.wait(jobs[0].id, 0.05)

        async def have_all_asked() -> bool:
            # One query per waiter at its start, and at least one for all of them.
            return queries.asked.count("job_states") > len(waits) + 2

        await eventually(have_all_asked, "every wait has begun")
        assert set(queries.asked) == {"job_states"}
        for job in jobs:
            await JobRepository(database).cancel(job.id)
        async with asyncio.timeout(3 * RECHECK_SECONDS):
            assert {(await wait).state for wait in waits} == {JobState.CANCELLED}
    assert 1 <= queries.asked.count("get_jobs") <= 2
    assert set(queries.asked) == {"job_states", "get_jobs"}
    await redis.aclose(close_connection_pool=True)
