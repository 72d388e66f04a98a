"""Counts the statements that processes send to Postgres, from the server's log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.measurement.bench_deployment import BenchDeployment

_RESETS = "pg_advisory_unlock_all"
_NAME = re.compile(r"^__asyncpg_\w+: ")
_LENGTH = 70
_MARKS = ("LOG:  execute ", "LOG:  statement: ")


def count(lines: Iterable[str]) -> int:
    """Return the number of statements in the lines of a Postgres log.

    Statements by which a pool resets connections are not counted.
    """
    return len(first_lines(lines))


def first_lines(lines: Iterable[str]) -> list[str]:
    """Return the beginning of each statement in the lines of a Postgres log."""
    found = (line.partition(mark)[2] for line in lines for mark in _MARKS if mark in line)
    return [_NAME.sub("", text).strip()[:_LENGTH] for text in found if _RESETS not in text]


def log_size(deployment: BenchDeployment) -> int:
    """Return the length of Postgres's log in bytes."""
    return _log(deployment).stat().st_size


def count_since(deployment: BenchDeployment, offset: int) -> int:
    """Return the number of statements logged after that length."""
    return len(statements_since(deployment, offset))


def statements_since(deployment: BenchDeployment, offset: int) -> list[str]:
    """Return the beginning of each statement logged after that length."""
    with _log(deployment).open("rb") as log:
        log.seek(offset)
        return first_lines(log.read().decode(errors="replace").splitlines())


@asynccontextmanager
async def logged(deployment: BenchDeployment) -> AsyncIterator[None]:
    """Make Postgres log all statements of sessions that begin during the block."""
    await _say(deployment, "ALTER DATABASE darkroom SET log_statement = 'all'")
    try:
        yield
    finally:
        await _say(deployment, "ALTER DATABASE darkroom RESET log_statement")


async def connect_unlogged(deployment: BenchDeployment) -> asyncpg.Connection:
    """Connect for queries of the measurement, which are not logged."""
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
