"""Outages of Postgres and Redis: producers get an error at once, and workers continue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import SecretStr

from producer import JobState, PostgresDown, Producer
from shared.adapters.servers import Servers
from tests.support.deployment import Deployment, text_to_image
from tests.support.tcp_relay import TcpRelay, relay_to

OUTAGE_SECONDS = 30.0


@asynccontextmanager
async def _postgres_behind_a_relay(deployment: Deployment) -> AsyncIterator[tuple[TcpRelay, str]]:
    assert deployment.settings.database_url is not None
    parts = urlsplit(deployment.settings.database_url.get_secret_value())
    folder = unquote(parts.netloc.partition("@")[2].partition(":")[0])
    async with relay_to(f"{folder}/.s.PGSQL.5432") as relay:
        yield relay, f"postgresql://darkroom@127.0.0.1:{relay.port}{parts.path}"


@asynccontextmanager
async def _redis_behind_a_relay(deployment: Deployment) -> AsyncIterator[tuple[TcpRelay, str]]:
    assert deployment.settings.redis_url is not None
    path = urlsplit(deployment.settings.redis_url.get_secret_value()).path
    async with relay_to(path) as relay:
        yield relay, f"redis://127.0.0.1:{relay.port}"


async def _run_through(
    deployment: Deployment, relay: TcpRelay, changes: dict[str, SecretStr]
) -> None:
    """Start jobs, stop the server for half a minute, and check that all jobs end."""
    deployment.simulator.set_faults(duration=4.0)
    async with deployment.worker(**changes):
        jobs = [await deployment.enqueue() for _ in range(20)]
        # The newest: on a busy machine the first have ended before all are enqueued.
        await asyncio.gather(*(deployment.in_state(job, "generating") for job in jobs[-5:]))
        await relay.cut()
        await asyncio.sleep(OUTAGE_SECONDS)
        await relay.restore()
        ended = [await deployment.ended(job, 60) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_postgres_down_for_30_seconds_loses_nothing_and_workers_continue(
    deployment: Deployment,
) -> None:
    async with _postgres_behind_a_relay(deployment) as (relay, url):
        await _run_through(deployment, relay, {"database_url": SecretStr(url)})


async def test_redis_down_for_30_seconds_loses_nothing_and_workers_continue(
    deployment: Deployment,
) -> None:
    async with _redis_behind_a_relay(deployment) as (relay, url):
        await _run_through(deployment, relay, {"redis_url": SecretStr(url)})


async def test_postgres_down_gives_producers_a_clear_error_at_once(
    deployment: Deployment, servers: Servers
) -> None:
    async with _postgres_behind_a_relay(deployment) as (relay, url):
        behind = Servers(url, servers.redis_url, None, has_given_database=True)
        async with Producer.connect_to(behind) as producer:
            await producer.enqueue(text_to_image(), account_id="acme")
            await relay.cut()
            started_at = monotonic()
            with pytest.raises(PostgresDown, match="Postgres"):
                await producer.enqueue(text_to_image(), account_id="acme")
            assert monotonic() - started_at < 3


async def test_redis_down_does_not_refuse_an_enqueue_and_the_job_runs_when_it_is_back(
    deployment: Deployment, servers: Servers
) -> None:
    async with _redis_behind_a_relay(deployment) as (relay, url):
        behind = Servers(servers.database_url, url, None, has_given_database=True)
        async with Producer.connect_to(behind) as producer:
            await relay.cut()
            job = await producer.enqueue(text_to_image(), account_id="acme")
            assert job.state is JobState.QUEUED
            await relay.restore()
            async with deployment.worker():
                assert (await deployment.ended(job, 20)).state is JobState.SUCCEEDED


async def test_redis_wiped_mid_run_every_job_still_ends_right(deployment: Deployment) -> None:
    deployment.simulator.set_faults(duration=3.0)
    async with deployment.worker() as resources:
        jobs = [await deployment.enqueue() for _ in range(40)]
        await deployment.in_state(jobs[-1], "generating")
        await resources.deps.delivery_queue.redis.flushall()
        later = [await deployment.enqueue() for _ in range(10)]
        ended = [await deployment.ended(job, 40) for job in [*jobs, *later]]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()
