"""The deployment of a measurement: a separate Postgres and Valkey, and a simulated Kie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
from redis.asyncio import Redis

from producer import Producer
from shared.adapters.embedded import acquire_servers
from shared.adapters.postgres.migrations import migrate
from shared.adapters.servers import Servers
from tests.support.simulated_kie import NO_CREATE_LIMIT, clean_environment, simulated_kie

ROOT = Path(__file__).parents[2]
ACCOUNT = "bench"
GRANT = Decimal(100_000_000)
_TABLES = ROOT / "bench" / "peers" / "tables.sql"
_FETCH_SECONDS = 60.0
# Compression would be a share of every figure that is none of this program.
_SIMULATOR = (*NO_CREATE_LIMIT, "--plain-bodies")


@dataclass(frozen=True, slots=True)
class BenchDeployment:
    """Running servers, and the environment of processes that use them."""

    folder: Path
    servers: Servers
    kie_url: str
    kie_pid: int
    environ: dict[str, str]
    session: aiohttp.ClientSession

    async def record(self) -> dict[str, Any]:
        """Return the counters of the simulated Kie."""
        return dict(orjson.loads(await self._ask("record")))

    async def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks of the simulated Kie."""
        return [orjson.loads(line) for line in (await self._ask("record/tasks")).splitlines()]

    async def start_over(self) -> None:
        """Empty the simulated Kie, Valkey and the peers' tables. Darkroom's tables stay."""
        async with self.session.post(f"{self.kie_url}/simulator/reset") as answer:
            answer.raise_for_status()
        await self.flush_redis()
        await make_peer_tables(self.servers)

    async def flush_redis(self) -> None:
        """FLUSHALL."""
        async with Redis.from_url(self.servers.redis_url) as redis:
            await redis.flushall()

    async def _ask(self, what: str) -> bytes:
        async with self.session.get(f"{self.kie_url}/simulator/{what}") as answer:
            answer.raise_for_status()
            return await answer.read()


@asynccontextmanager
async def open_bench_deployment(
    folder: Path,
    *,
    simulator: Sequence[str],
    module: str = "worker.simulator",
    fsync: bool = True,
) -> AsyncIterator[BenchDeployment]:
    """Start the servers for the duration of the block.

    `module` is the program of the simulated Kie, and `simulator` its arguments. Without fsync,
    commits are faster than in production: use it for tests only.
    """
    embedded = await asyncio.to_thread(
        acquire_servers, folder / "home", linger_seconds=0, fsync=fsync
    )
    try:
        assert embedded.database_url is not None
        assert embedded.redis_url is not None
        servers = Servers(
            embedded.database_url, embedded.redis_url, embedded, has_given_database=True
        )
        await migrate(servers.database_url)
        await make_peer_tables(servers)
        async with Producer.connect_to(servers) as producer:
            await producer.billing.create_account(ACCOUNT)
            await producer.billing.grant(ACCOUNT, GRANT, "for the measurement")
        async with (
            simulated_kie(folder, [*_SIMULATOR, *simulator], module=module) as kie,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_FETCH_SECONDS)) as session,
        ):
            environ = {
                **clean_environment(),
                "DATABASE_URL": servers.database_url,
                "REDIS_URL": servers.redis_url,
                "KIE_BASE_URL": kie["base_url"],
                "KIE_API_KEY": kie["api_key"],
            }
            pid = int(kie["pid"])
            yield BenchDeployment(folder, servers, kie["base_url"], pid, environ, session)
    finally:
        await asyncio.to_thread(embedded.release)


async def make_peer_tables(servers: Servers) -> None:
    """Create the tables of the peers' pipelines again."""
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute(_TABLES.read_text("utf-8"))
    finally:
        await connection.close()
