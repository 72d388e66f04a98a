"""Postgres refuses the login of a running worker whose task Kie was paid for: nothing is lost.

The worker has a role of its own, with a password that the server really checks (scram-sha-256).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from producer import JobState
from shared.adapters.http.http_server import serve_http
from shared.adapters.postgres.database import Connection
from tests.support.database_pool import DatabasePool
from tests.support.deployment import Deployment, eventually, fast_simulator_config
from worker.bootstrap import WorkerResources
from worker.recovery.task_id_backup import BACKUP_KEY
from worker.simulator import Durations, Simulator, running_simulator

PASSWORD = "first"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie that takes a second to create a task, so that the worker can be refused meanwhile."""
    config = fast_simulator_config(
        create_latency_seconds=1.0,
        latency_jitter=0.0,
        durations=Durations(median_seconds=0.3, sigma=0.0),
    )
    async with running_simulator(config) as simulator:
        yield simulator


@dataclass(frozen=True)
class Server:
    """A session in another database, which changes the permitted logins and is never refused."""

    operator: Connection
    role: str
    database: str

    async def run(self, *statements: str) -> None:
        for statement in statements:
            await self.operator.execute(statement)

    async def end_sessions(self, which: str) -> None:
        """End the sessions, so that their clients have to log in again."""
        await self.operator.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
        )


async def rotate_the_password(server: Server) -> None:
    await server.run(f"ALTER ROLE {server.role} PASSWORD 'second'")


async def put_the_password_back(server: Server) -> None:
    await server.run(f"ALTER ROLE {server.role} PASSWORD '{PASSWORD}'")


async def rename_the_database(server: Server) -> None:
    name = server.database
    await server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await server.end_sessions(f"datname = '{name}'")

    async def is_empty() -> bool:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
        return bool(await server.operator.fetchval(count, name) == 0)

    await eventually(is_empty, "nobody is connected")
    await server.run(
        f"ALTER DATABASE {name} RENAME TO {name}_moved",
        f"ALTER DATABASE {name}_moved ALLOW_CONNECTIONS true",
    )


async def restore_the_name(server: Server) -> None:
    await server.run(f"ALTER DATABASE {server.database}_moved RENAME TO {server.database}")


async def forbid_the_login(server: Server) -> None:
    await server.run(f"ALTER ROLE {server.role} NOLOGIN")


async def allow_the_login(server: Server) -> None:
    await server.run(f"ALTER ROLE {server.role} LOGIN")


async def take_the_right_to_connect(server: Server) -> None:
    await server.run(f"REVOKE CONNECT ON DATABASE {server.database} FROM PUBLIC")


async def give_the_right_to_connect(server: Server) -> None:
    await server.run(f"GRANT CONNECT ON DATABASE {server.database} TO PUBLIC")


Change = Callable[[Server], Awaitable[None]]


@asynccontextmanager
async def passwords_checked(operator: Connection, role: str) -> AsyncIterator[None]:
    """Make the server ask this role for its password. Other roles are trusted as before."""
    file = Path(await operator.fetchval("SHOW hba_file"))
    before = file.read_text(encoding="utf-8")
    file.write_text(f"local all {role} scram-sha-256\n{before}", encoding="utf-8")
    await operator.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")
        await operator.execute("SELECT pg_reload_conf()")


@pytest.fixture
async def server(databases: DatabasePool, database_url: str) -> AsyncIterator[Server]:
    role = f"login_{uuid4().hex[:12]}"
    operator = await asyncpg.connect(databases.server_url)
    try:
        await operator.execute(
            f"SET password_encryption = 'scram-sha-256'; CREATE ROLE {role} LOGIN"
            f" PASSWORD '{PASSWORD}' IN ROLE darkroom_service"
        )
        async with passwords_checked(operator, role):
            yield Server(operator, role, database_url.rpartition("/")[2])
        await operator.execute(f"DROP ROLE {role}")
    finally:
        await operator.close()


def url_of(server: Server, database_url: str) -> SecretStr:
    """Return the URL with the role and its first password."""
    parts = urlsplit(database_url)
    place = parts.netloc.rpartition("@")[2]
    login = f"{server.role}:{PASSWORD}@{place}"
    return SecretStr(parts._replace(netloc=login).geturl())


@asynccontextmanager
async def asking(
    resources: WorkerResources,
) -> AsyncIterator[Callable[[], Awaitable[tuple[int, str]]]]:
    """Yield a function that returns the worker's readiness and its text about Postgres."""
    async with (
        serve_http("127.0.0.1", 0, resources.health.routes()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):

        async def ask() -> tuple[int, str]:
            async with client.get("/readyz") as answer:
                return answer.status, str((await answer.json())["checks"]["postgres"])

        yield ask


async def both_are_paid_and_kept(deployment: Deployment, resources: WorkerResources) -> None:
    """Wait until Kie has made both tasks, and their ids are kept where Postgres is not needed."""

    async def are_kept() -> bool:
        return bool(await resources.deps.delivery_queue.redis.hlen(BACKUP_KEY) == 2)  # type: ignore[misc]

    await eventually(are_kept, "both task ids are kept in Redis")
    summary: Any = deployment.simulator.record.summary()
    assert summary["creates"]["created"] == 2


@pytest.mark.parametrize(
    ("refuse", "mend", "sqlstate", "words"),
    [
        (rotate_the_password, put_the_password_back, "28P01", "password authentication failed"),
        (rename_the_database, restore_the_name, "3D000", "does not exist"),
        (forbid_the_login, allow_the_login, "28000", "is not permitted to log in"),
        (take_the_right_to_connect, give_the_right_to_connect, "42501", "permission denied"),
    ],
    ids=["password", "database", "login", "connect"],
)
async def test_a_refused_login_loses_nothing_and_is_fixed_without_a_restart(
    deployment: Deployment,
    server: Server,
    database_url: str,
    refuse: Change,
    mend: Change,
    sqlstate: str,
    words: str,
) -> None:
    url = url_of(server, database_url)
    async with deployment.worker(database_url=url) as resources, asking(resources) as ask:

        async def is_ready() -> bool:
            return (await ask())[0] == 200

        async def says_so() -> bool:
            status, said = await ask()
            return status == 503 and words in said and f"SQLSTATE {sqlstate}" in said

        await eventually(is_ready, "the worker is ready")
        jobs = [await deployment.enqueue() for _ in range(2)]
        await asyncio.gather(*(deployment.in_state(job, "submitting") for job in jobs))
        await refuse(server)
        try:
            await server.end_sessions(f"usename = '{server.role}'")
            await both_are_paid_and_kept(deployment, resources)
            await eventually(says_so, f"/readyz is red with {sqlstate}", 15)
        finally:
            await mend(server)
        ended = [await deployment.ended(job, 60) for job in jobs]
        assert {job.state for job in ended} == {JobState.SUCCEEDED}
        assert {job.attempt for job in ended} == {1}
        await eventually(is_ready, "the worker is ready again", 15)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()
