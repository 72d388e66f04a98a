"""Orders over a Redis of another Darkroom are stored, and every way in says whose Redis it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from producer import JobState, Producer
from shared.adapters.postgres.database import connect_database
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers
from shared.redis_url.redis_url import with_prefix
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, another_database, environment, text_to_image

WHOSE = "the Redis of another Darkroom: worker shop-1:7 of the database db:5432/shop uses it"
WHAT_TO_SET = "give each database a REDIS_PREFIX of its own"
ENQUEUE = ("enqueue", "--account", "acme", "--prompt", "a lighthouse")


@pytest.fixture
async def other(servers: Servers) -> AsyncIterator[None]:
    """A worker of another database, which was first in this Redis."""
    async with running_worker_of_another(servers):
        yield


@asynccontextmanager
async def running_worker_of_another(servers: Servers) -> AsyncIterator[None]:
    async with (
        another_database(servers.database_url) as url,
        connect_database(url, connections=1) as database,
        connect_redis(servers.redis_url, connections=1) as redis,
    ):
        process = Process("worker", redis="a", database="db:5432/shop", name="shop-1:7")
        registry = ProcessRegistry(database, redis, process)
        assert await registry.send_heartbeat() is not None
        yield
        await registry.stop()


@pytest.mark.usefixtures("other")
async def test_the_command_line_says_whose_redis_it_is_and_stores_the_job(
    deployment: Deployment, tmp_path: Path
) -> None:
    darkroom = Darkroom(environment(deployment.settings), tmp_path)
    said = await darkroom.run(*ENQUEUE)
    assert said.code == 0
    assert WHOSE in said.err
    assert WHAT_TO_SET in said.err
    assert "no worker is running" not in said.err
    job = await deployment.producer.get(said.out.strip())
    assert job.state is JobState.QUEUED
    retried, queue = await darkroom.run_all((*ENQUEUE, "--json"), ("queue",))
    assert WHOSE in retried.err
    assert retried.object["state"] == "queued"
    assert "REDIS_PREFIX" in queue.out


@pytest.mark.usefixtures("other")
async def test_a_prefix_ends_the_warning(deployment: Deployment, tmp_path: Path) -> None:
    darkroom = Darkroom({**environment(deployment.settings), "REDIS_PREFIX": "mine:"}, tmp_path)
    said = await darkroom.run(*ENQUEUE)
    assert said.code == 0
    assert "another Darkroom" not in said.err
    assert "no worker is running" in said.err


@pytest.mark.usefixtures("other")
async def test_a_program_is_told_in_its_log_when_it_connects(deployment: Deployment) -> None:
    with capture_logs() as lines:
        async with Producer.connect(deployment.settings) as producer:
            job = await producer.enqueue(text_to_image(), account_id="acme")
    assert job.state is JobState.QUEUED
    (line,) = (one for one in lines if one["event"] == "redis_of_another_database")
    assert line["log_level"] == "error"
    assert WHOSE in line["error"]
    assert WHAT_TO_SET in line["fix"]


async def test_who_was_first_in_a_redis_is_not_told(
    deployment: Deployment, servers: Servers
) -> None:
    async with deployment.worker(), running_worker_of_another(servers):
        with capture_logs() as lines:
            async with Producer.connect(deployment.settings) as producer:
                job = await producer.enqueue(text_to_image(), account_id="acme")
                assert (await producer.wait(job.id)).state is JobState.SUCCEEDED
    assert "redis_of_another_database" not in {one["event"] for one in lines}


async def test_a_program_connects_without_a_redis(deployment: Deployment) -> None:
    away = deployment.settings.model_copy(
        update={"redis_url": SecretStr(with_prefix("redis://127.0.0.1:1", "x:"))}
    )
    async with Producer.connect(away) as producer:
        assert (await producer.enqueue(text_to_image(), account_id="acme")).state is JobState.QUEUED
