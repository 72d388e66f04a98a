"""Two databases, one with a small and one with a large history."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.postgres.migrations import migrate
from shared.adapters.servers import open_servers
from shared.settings import Settings

_FILL = Path(__file__).parent / "history.sql"
_OTHER_ROWS = Path(__file__).parent / "other_rows.sql"
_TIMEOUT_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a database."""

    ended: int
    queued: int
    accounts: int


SMALL = Size(ended=1_000, queued=1_000, accounts=10)
"""Enough for a full page of any list, so that both databases do equal work."""
LARGE = Size(ended=1_000_000, queued=100_000, accounts=1_000)


@asynccontextmanager
async def open_histories(large: Size) -> AsyncIterator[tuple[Database, Database]]:
    """Open a small and a large database on one embedded Postgres with fsync.

    Each is vacuumed and analyzed after it was filled, as autovacuum would have done by then, and
    autovacuum goes on as it is set. One connection each, so that what is prepared stays prepared.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        async with open_servers(Settings(darkroom_home=Path(home))) as servers:
            urls = [
                await create_history_database(servers.database_url, size) for size in (SMALL, large)
            ]
            async with (
                connect_database(urls[0], connections=1) as small,
                connect_database(urls[1], connections=1) as big,
            ):
                yield small, big


async def create_history_database(url: str, size: Size, *, varied: bool = False) -> str:
    """Create a database of that size on the server of the URL; return its own URL.

    With `varied`, jobs differ in everything by which lists are filtered, and there are other rows.
    """
    name = f"history_{size.ended}"
    parts = urlsplit(url)
    own_url = urlunsplit(parts._replace(path=f"/{name}"))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    await migrate(own_url)
    started_at = time.monotonic()
    connection = await asyncpg.connect(own_url)
    try:
        async with connection.transaction():
            for setting in ("ended", "queued", "accounts"):
                name, value = f"bench.{setting}", str(getattr(size, setting))
                await connection.execute("SELECT set_config($1, $2, true)", name, value)
            await connection.execute(
                "SELECT set_config('bench.varied', $1, true)", "yes" if varied else "no"
            )
            await connection.execute(_FILL.read_text("utf-8"), timeout=_TIMEOUT_SECONDS)
            if varied:
                await connection.execute(_OTHER_ROWS.read_text("utf-8"), timeout=_TIMEOUT_SECONDS)
        await connection.execute("VACUUM (ANALYZE)", timeout=_TIMEOUT_SECONDS)
        await connection.execute("CHECKPOINT", timeout=_TIMEOUT_SECONDS)
    finally:
        await connection.close()
    sys.stderr.write(
        f"{size.ended:,} jobs that have ended and {size.queued:,} that wait, written in"
        f" {time.monotonic() - started_at:.0f} s\n"
    )
    return own_url
