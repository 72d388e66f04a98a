"""Fixtures that every test may use: real servers, a fresh database each, a simulator, a worker."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from arq.connections import ArqRedis
from hypothesis import HealthCheck

from producer import Producer
from shared.adapters.embedded import EmbeddedServers, acquire_servers
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.support.database_pool import DatabasePool, open_pool, with_database
from tests.support.deployment import Deployment, fast_simulator_config
from tests.support.order_of_files import order_files
from worker.simulator import Simulator, running_simulator

# A shell without job control starts what it runs in the background with Ctrl-C ignored, and every
# program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")

gc.disable()
_GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""Python's own ones let searches for reference cycles take a tenth of a process of tests."""


DEPLOYMENTS = Path(__file__).with_name("deployments")
"""Tests with servers that a system may lack. `make test-deployments` names them; `make test` does
not."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make fuzz`."""
    parser.addoption("--every-case", action="store_true", help="send every case of the document")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests of deployments, unless an argument names them."""
    if collection_path != DEPLOYMENTS:
        return None
    is_named = any("deployments" in argument for argument in config.args)
    return None if is_named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files with long waits run beside files that compute."""
    tests_of: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests_of[item.location[0]].append(item)
    items[:] = [item for file in order_files(tests_of) for item in tests_of[file]]


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what is loaded and collected: it stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    gc.enable()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of the environment from tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(autouse=True)
def fresh_failure_log() -> Iterator[None]:
    """Clear the incidents of other tests."""
    incidents.clear()
    yield
    incidents.clear()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """One Postgres and one Valkey for the tests of one process, without fsync."""
    home: Path = tmp_path_factory.mktemp("home")
    with acquire_servers(home, linger_seconds=0, fsync=False) as servers:
        yield servers


@pytest.fixture(scope="session")
def databases(embedded: EmbeddedServers) -> Iterator[DatabasePool]:
    """The migrated databases of this process of tests."""
    assert embedded.database_url is not None
    with closing(asyncio.run(open_pool(embedded.database_url))) as pool:
        yield pool


@pytest.fixture
async def database_url(databases: DatabasePool) -> AsyncIterator[str]:
    """The URL of a migrated database that is this test's own."""
    async with databases.lend() as url:
        yield url


@pytest.fixture
async def empty_database_url(databases: DatabasePool) -> AsyncIterator[str]:
    """The URL of a database without migrations."""
    name = f"e{uuid4().hex}"
    connection = await asyncpg.connect(databases.server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        yield with_database(databases.server_url, name)
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on this test's database."""
    async with connect_database(database_url) as database:
        yield database


@pytest.fixture
async def redis(embedded: EmbeddedServers) -> AsyncIterator[ArqRedis]:
    """An empty Valkey."""
    assert embedded.redis_url is not None
    async with connect_redis(embedded.redis_url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def servers(embedded: EmbeddedServers, database_url: str, redis: ArqRedis) -> Servers:
    """This test's database and an empty Valkey, as the application sees them."""
    assert embedded.redis_url is not None
    return Servers(database_url, embedded.redis_url, embedded, has_given_database=True)


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    """A producer on this test's servers."""
    async with Producer.connect_to(servers) as producer:
        yield producer


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie simulator on a real socket that answers at once."""
    async with running_simulator(fast_simulator_config()) as simulator:
        yield simulator


@pytest.fixture
def settings(servers: Servers, simulator: Simulator, tmp_path: Path) -> Settings:
    """The settings of a worker on this test's servers and simulator."""
    return Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        darkroom_home=tmp_path,
        kie_api_key=simulator.api_key,
        kie_base_url=simulator.base_url,
        kie_submits_per_10_seconds=0,
        worker_http_port=0,
        api_port=0,
    )


@pytest.fixture
async def deployment(
    settings: Settings, producer: Producer, database: Database, simulator: Simulator
) -> Deployment:
    """A producer, a simulator and the means to run workers, with one rich account."""
    deployment = Deployment(settings, producer, database, simulator)
    await deployment.open_account("acme", 10_000)
    return deployment
