"""Everything that a person at a browser meets: servers, the API with its pages, Kie, a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import StorageState

from producer import Producer
from producer.api import serving_api
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.adapters.embedded import EmbeddedServers
from shared.adapters.postgres.database import connect_database
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.support.database_pool import DatabasePool
from tests.support.deployment import Deployment, eventually, fast_simulator_config
from worker.simulator import SimulatorConfig, running_simulator


class RunningSystem:
    """A Darkroom with its API on a free port. A test starts the worker if it needs one."""

    def __init__(self, deployment: Deployment, url: str) -> None:
        self.deployment = deployment
        self.url = url
        self.logins: dict[Role, StorageState] = {}
        """The cookies of whoever has logged in, by role."""
        self._keys: dict[Role, str] = {}

    async def key_of(self, role: Role) -> str:
        """Return the API key of this role. From the first key on, nobody is let in without one."""
        if role not in self._keys:
            store = KeyStore(self.deployment.database)
            _, self._keys[role] = await store.create(role, name=f"the {role}")
            await eventually(self._is_closed, "the API asks for a key")
        return self._keys[role]

    async def _is_closed(self) -> bool:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/prices") as response,
        ):
            return response.status == 401


@asynccontextmanager
async def running_system(
    embedded: EmbeddedServers,
    databases: DatabasePool,
    home: Path,
    config: SimulatorConfig | None = None,
    **changes: Any,
) -> AsyncIterator[RunningSystem]:
    """Run the API against a database of its own, an empty Valkey and a simulated Kie.

    `changes` are to its settings.
    """
    assert embedded.redis_url is not None
    async with AsyncExitStack() as stack:
        settings_of_the_caller = stack.enter_context(pytest.MonkeyPatch.context())
        for name in Settings.model_fields:
            settings_of_the_caller.delenv(name.upper(), raising=False)
        settings_of_the_caller.setitem(Settings.model_config, "env_file", None)

        database_url = await stack.enter_async_context(databases.lend())
        redis = await stack.enter_async_context(connect_redis(embedded.redis_url))
        await redis.flushall()
        simulator = await stack.enter_async_context(
            running_simulator(config or fast_simulator_config())
        )
        settings = Settings(
            database_url=database_url,
            redis_url=embedded.redis_url,
            darkroom_home=home,
            kie_api_key=simulator.api_key,
            kie_base_url=simulator.base_url,
            kie_submits_per_10_seconds=0,
            webhooks_allow_loopback=True,
            worker_http_port=0,
            api_port=0,
            console_image_hosts=simulator.base_url.removeprefix("http://"),
            results_url=f"file://{home}/results",
        )
        settings = settings.model_copy(update=changes)
        servers = Servers(database_url, embedded.redis_url, embedded, has_given_database=True)
        producer = await stack.enter_async_context(
            Producer.connect_to(
                servers,
                webhooks_allow_loopback=True,
                kie_account_names=settings.kie_account_names,
            )
        )
        database = await stack.enter_async_context(connect_database(database_url))
        addresses = await stack.enter_async_context(serving_api(settings))
        deployment = Deployment(settings, producer, database, simulator)
        yield RunningSystem(deployment, f"http://{addresses[0]}")
