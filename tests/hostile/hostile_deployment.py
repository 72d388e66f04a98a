"""The deployment that is attacked: its servers, a simulated Kie, one worker and the API."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from producer import Producer
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.adapters.embedded import acquire_servers
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.postgres.migrations import migrate
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.hostile.hostile_options import HostileOptions
from tests.support.deployment import environment
from tests.support.ports import free_port
from tests.support.restarted_process import RestartedProcess
from tests.support.simulated_kie import NO_CREATE_LIMIT, simulated_kie

HONEST, LONG, POOR = "honest", "long", "poor"
"""The accounts: an honest one, one with long jobs, and one without credits."""
_STARTED_SECONDS = 30.0
_KIE_ANSWERS_AT_ONCE = ("--create-latency", "0", "--poll-latency", "0")


@dataclass(frozen=True, slots=True)
class HostileDeployment:
    """The running processes, and their addresses and keys."""

    folder: Path
    database: Database
    producer: Producer
    keys: dict[str, str]
    """The service key of each account."""
    api_port: int
    worker_port: int
    worker: RestartedProcess
    api: RestartedProcess
    environ: dict[str, str]

    @property
    def logs(self) -> dict[str, Path]:
        """The log files that callers might fill, by process."""
        return {
            "worker": self.folder / "worker.log",
            "api": self.folder / "api.log",
            "postgres": self.folder / "home" / "log" / "postgres.log",
        }

    def pids(self) -> dict[str, int]:
        """Return the processes whose memory is measured."""
        return {one.role: one.process_id for one in (self.worker, self.api)}


@asynccontextmanager
async def open_hostile_deployment(
    folder: Path, options: HostileOptions
) -> AsyncIterator[HostileDeployment]:
    """Start everything, and stop it at the end."""
    async with AsyncExitStack() as stack:
        embedded = await asyncio.to_thread(acquire_servers, folder / "home", linger_seconds=0)
        stack.push_async_callback(asyncio.to_thread, embedded.release)
        assert embedded.database_url is not None
        assert embedded.redis_url is not None
        await migrate(embedded.database_url)
        servers = Servers(
            embedded.database_url, embedded.redis_url, embedded, has_given_database=True
        )
        producer = await stack.enter_async_context(Producer.connect_to(servers))
        database = await stack.enter_async_context(
            connect_database(servers.database_url, connections=2, name="hostile-checks")
        )
        keys = await _open_accounts(producer, database)
        kie = await stack.enter_async_context(
            simulated_kie(folder, [*NO_CREATE_LIMIT, *_KIE_ANSWERS_AT_ONCE])
        )
        api_port, worker_port = free_port(), free_port()
        environ = _environment(servers, kie, folder, api_port, worker_port)
        worker = _restarted_process("worker", ["-m", "worker"], environ, folder, options)
        api = _restarted_process("api", ["-m", "producer", "api"], environ, folder, options)
        for process in (worker, api):
            await stack.enter_async_context(_running(process))
        yield HostileDeployment(
            folder, database, producer, keys, api_port, worker_port, worker, api, environ
        )


async def _open_accounts(producer: Producer, database: Database) -> dict[str, str]:
    keys = {}
    for account, credits in ((HONEST, 100_000), (LONG, 100_000), (POOR, 0)):
        await producer.billing.create_account(account)
        if credits:
            await producer.billing.grant(account, Decimal(credits), "for the campaign")
        _, keys[account] = await KeyStore(database).create(Role.SERVICE, account)
    return keys


def _environment(
    servers: Servers, kie: dict[str, str], folder: Path, api_port: int, worker_port: int
) -> dict[str, str]:
    settings = Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        kie_api_key=kie["api_key"],
        kie_base_url=kie["base_url"],
        kie_submits_per_10_seconds=0,
        darkroom_home=folder / "home",
    )
    return {
        **environment(settings),
        "WORKER_HTTP_PORT": str(worker_port),
        "API_PORT": str(api_port),
        "KIE_CALLBACK_URL": f"http://127.0.0.1:{worker_port}",
    }


def _restarted_process(
    role: str,
    arguments: Sequence[str],
    environ: dict[str, str],
    folder: Path,
    options: HostileOptions,
) -> RestartedProcess:
    limited = f'ulimit -n {options.descriptors}; exec "$0" "$@"'
    return RestartedProcess(
        role,
        ["sh", "-c", limited, sys.executable, *arguments],
        environ,
        started_word=f"{role}_started",
        folder=folder,
    )


@asynccontextmanager
async def _running(process: RestartedProcess) -> AsyncIterator[None]:
    task = asyncio.create_task(process.run())
    try:
        async with asyncio.timeout(_STARTED_SECONDS):
            while not process.is_up:
                await asyncio.sleep(0.05)
        yield
    finally:
        await process.stop()
        await task
