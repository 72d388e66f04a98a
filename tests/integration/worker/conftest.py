"""Fixtures of worker tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr

from producer import Producer
from shared.adapters.embedded import EmbeddedServers
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.integration.worker.worker_setup import WorkerSetup, open_worker_setup
from worker.batching.redis_scripts import RedisScripts


@pytest.fixture
def embedded_redis_url(embedded: EmbeddedServers) -> str:
    """The URL of the Valkey of the tests, over its socket."""
    assert embedded.redis_url is not None
    return embedded.redis_url


@pytest.fixture
async def scripts(redis: ArqRedis) -> AsyncIterator[RedisScripts]:
    """The worker's scripts, over the Valkey of the tests."""
    async with aclosing(RedisScripts(redis)) as scripts:
        yield scripts


@pytest.fixture
async def setup(
    servers: Servers, producer: Producer, database: Database, redis: ArqRedis, tmp_path: Path
) -> AsyncIterator[WorkerSetup]:
    """A worker setup with a scripted Kie and one account of 100 credits."""
    settings = Settings(
        database_url=SecretStr(servers.database_url),
        redis_url=SecretStr(servers.redis_url),
        darkroom_home=tmp_path,
        kie_api_key=SecretStr("a-key-that-nobody-may-see"),
        kie_submits_per_10_seconds=0,
    )
    async with open_worker_setup(settings, producer, database, redis) as setup:
        yield setup
