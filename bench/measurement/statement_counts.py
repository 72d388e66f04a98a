"""Counts the statements that processes send to Postgres, from the log of the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.measurement.bench_deployment import BenchDeployment

_RESETS = "pg_advisory_unlock_all"
_MARKS = ("LOG:  execute ", "LOG:  statement: ")


def count(lines: Iterable[str]) -> int:
    """Return how many statements the lines of a Postgres log tell of.

    What a pool sends to wipe a connection between two users is not counted, only what they sent.
    """
    return sum(any(mark in line for mark in _MARKS) and _RESETS not in line for line in lines)


def log_size(deployment: BenchDeployment) -> int:
    """Return how long the log of Postgres is now, in bytes."""
    return _log(deployment).stat().st_size


def count_since(deployment: BenchDeployment, offset: int) -> int:
    """Return how many statements were logged from that length of the log on."""
    with _log(deployment).open("rb") as log:
        log.seek(offset)
        return count(log.read().decode(errors="replace").splitlines())


@asynccontextmanager
async def logged(deployment: BenchDeployment) -> AsyncIterator[None]:
    """Have Postgres log every statement of the sessions that begin while the block lasts."""
    await _say(deployment, "ALTER DATABASE darkroom SET log_statement = 'all'")
    try:
        yield
    finally:
        await _say(deployment, "ALTER DATABASE darkroom RESET log_statement")


async def connect_unlogged(deployment: BenchDeployment) -> asyncpg.Connection:
    """Connect for a look of our own, which is never logged."""
    return await asyncpg.connect(
        deployment.servers.database_url, server_settings={"log_statement": "none"}
    )


async def _say(deployment: BenchDeployment, statement: str) -> None:
    connection = await connect_unlogged(deployment)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _log(deployment: BenchDeployment) -> Path:
    assert deployment.servers.embedded is not None
    return deployment.servers.embedded.home / "log" / "postgres.log"
