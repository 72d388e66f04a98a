"""What is asked often reads what it needs, however many jobs have ended or wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from shared.adapters.postgres.named_queries import get_query

ENDED, QUEUED, PAGE = 20_000, 5_000, 50
FILL = Path(__file__).parents[3] / "bench" / "scaling" / "history.sql"
LONG_AGO = datetime.min.replace(tzinfo=UTC)

MIB = 1024 * 1024
ASKED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("list_jobs", (None, PAGE, True, True, MIB)),
    ("list_jobs_of_account", (None, PAGE, True, True, MIB, "a1")),
    ("list_jobs_in_state", (None, PAGE, True, True, MIB, "failed")),
    ("list_ledger", ("a1", None, PAGE, MIB)),
    ("open_jobs_after", ("", LONG_AGO, UUID(int=0), PAGE, 2.0)),
    ("fresh_open_jobs", (60.0, 2.0, PAGE)),
)


@pytest.fixture
async def history(database_url: str) -> asyncpg.Connection[asyncpg.Record]:
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        for name, value in (("ended", ENDED), ("queued", QUEUED), ("accounts", 10)):
            await connection.execute("SELECT set_config($1, $2, true)", f"bench.{name}", str(value))
        await connection.execute(FILL.read_text(encoding="utf-8"))
    await connection.execute("VACUUM ANALYZE jobs")
    return connection


async def test_no_list_and_no_check_scans_the_history_or_the_queue(
    history: asyncpg.Connection[asyncpg.Record],
) -> None:
    try:
        touched = {}
        for query, arguments in ASKED:
            explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {get_query(query)}"
            touched[query, *arguments] = _blocks(await history.fetchval(explained, *arguments))
    finally:
        await history.close()
    # A page of 50 jobs lies in at most as many blocks, and an index is a few more.
    assert not {query: blocks for query, blocks in touched.items() if blocks > 2 * PAGE}, touched


def _blocks(plan: str) -> int:
    whole = json.loads(plan)[0]["Plan"]
    return int(whole["Shared Hit Blocks"]) + int(whole["Shared Read Blocks"])
