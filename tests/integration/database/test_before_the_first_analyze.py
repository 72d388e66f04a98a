"""Postgres plans a choice alike without statistics, with old ones and with new ones."""

from __future__ import annotations

import asyncpg
import pytest

from producer import Order, Producer
from tests.integration.producer.client_setup import open_account
from tests.support.deployment import text_to_image

JOBS = 3_000
PLACES = 20
ROWS_READ = """
SELECT seq_tup_read + coalesce(idx_tup_fetch, 0)
  FROM pg_stat_xact_user_tables WHERE relname = 'jobs'
"""


@pytest.mark.parametrize(
    ("jobs_before", "analyze"),
    [(JOBS, "SELECT"), (10, "ANALYZE jobs"), (500, "ANALYZE"), (JOBS, "ANALYZE")],
)
async def test_a_choice_reads_little_more_than_what_it_chooses(
    producer: Producer, database_url: str, jobs_before: int, analyze: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for name in ("crowd", "other"):
            await open_account(producer, name, credits=1_000_000)
            order = Order(request=text_to_image(), account_id=name)
            await producer.enqueue_many([order] * jobs_before)
            await connection.execute(analyze)
            await producer.enqueue_many([order] * (JOBS - jobs_before))
        async with connection.transaction():
            await connection.execute("UPDATE chosen_jobs SET chosen_at = now() - interval '1 min'")
            before = await connection.fetchval(ROWS_READ)
            row = await connection.fetchrow("SELECT * FROM darkroom_choose_jobs($1)", PLACES)
            rows_read = await connection.fetchval(ROWS_READ) - before
    finally:
        await connection.close()
    assert row is not None
    assert len(row["chosen"]) == PLACES
    assert rows_read < 10 * PLACES
