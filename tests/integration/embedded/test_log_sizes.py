"""No caller fills the disk through the log of an embedded server."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from producer import InsufficientCredits, Producer
from shared.adapters.embedded import EmbeddedServers
from shared.adapters.embedded.host.log_files import open_log, truncate_logs
from shared.adapters.postgres.database import Database
from tests.integration.embedded.shared_home import wait_for
from tests.support.deployment import text_to_image

LINE_BYTES_MAX = 400
_LONG = "x" * 50_000
_TIMES = 10

Refused = Callable[[Producer, Database], Awaitable[None]]


async def _without_credits(producer: Producer, _: Database) -> None:
    with pytest.raises(InsufficientCredits):
        await producer.enqueue(text_to_image("a very long story " * 200), account_id="poor")


async def _against_a_rule(_: Producer, database: Database) -> None:
    with suppress(asyncpg.PostgresError):
        await database.pool.execute(
            "INSERT INTO accounts (id, balance) VALUES ($1, 0)", f"poor {_LONG}"
        )
    with suppress(asyncpg.PostgresError):
        await database.pool.execute(f"INSERT INTO accounts (id) VALUES ('poor') -- {_LONG}")


async def _no_json(_: Producer, database: Database) -> None:
    with suppress(asyncpg.PostgresError):
        await database.pool.execute(f"SELECT '[{_LONG}]'::jsonb")


@pytest.mark.parametrize("refuse", [_without_credits, _against_a_rule, _no_json])
async def test_what_postgres_refuses_is_a_short_line_in_its_log(
    producer: Producer, database: Database, embedded: EmbeddedServers, refuse: Refused
) -> None:
    await producer.billing.create_account("poor")
    log = embedded.home / "log" / "postgres.log"
    before = log.stat().st_size
    for _ in range(_TIMES):
        await refuse(producer, database)
    with log.open("rb") as file:
        file.seek(before)
        said = file.read()
    assert said.count(b"ERROR:") >= _TIMES
    assert b"STATEMENT" not in said
    assert max(map(len, said.splitlines())) < LINE_BYTES_MAX


def test_a_log_that_is_being_written_is_rotated(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "a.log")
    small = open_log(tmp_path / "small.log")
    os.write(small, b"little\n")
    for number in range(3):
        os.write(writer, b"%d" % number + b"x" * 100)
        truncate_logs(tmp_path, bytes_kept=50)
        assert (tmp_path / "a.log.1").read_bytes() == b"%d" % number + b"x" * 100
        assert (tmp_path / "a.log").read_bytes() == b""
    os.write(writer, b"go on\n")
    truncate_logs(tmp_path, bytes_kept=50)
    assert (tmp_path / "a.log").read_bytes() == b"go on\n"
    assert (tmp_path / "small.log").read_bytes() == b"little\n"
    assert not (tmp_path / "small.log.1").exists()
    os.close(writer)
    os.close(small)


def test_the_watchdog_does_so_while_the_servers_run(embedded: EmbeddedServers) -> None:
    log = embedded.home / "log" / "flooded.log"
    log.write_bytes(b"x" * 5 * 1024 * 1024)
    wait_for("the log was set aside", lambda: log.stat().st_size == 0)
    assert (embedded.home / "log" / "flooded.log.1").stat().st_size == 5 * 1024 * 1024
