"""Postgres plans a choice and an enqueue alike with any statistics: none, old ones and new ones."""

from __future__ import annotations

import asyncpg
import pytest

from producer import Order, Producer
from shared.adapters.postgres.database import Database
from tests.integration.producer.client_setup import open_account
from tests.support.deployment import text_to_image

JOBS = 8_000
"""Of each account. With half of them the planner reads jobs by their ids whatever the query."""
PLACES = 20
ROWS_READ = """
SELECT seq_tup_read + coalesce(idx_tup_fetch, 0)
  FROM pg_stat_xact_user_tables WHERE relname = 'jobs'
"""
CHOOSE = f"""
UPDATE chosen_jobs SET chosen_at = now() - interval '1 min';
-- A family is braked: the models of the chosen jobs are looked up.
SELECT darkroom_choose_jobs({PLACES}, ARRAY['another/family'])
"""
ENQUEUE = """
SELECT darkroom_enqueue_job(gen_random_uuid(), 'crowd', model, task, quantity, request::text, NULL,
                            '{}', NULL, 'normal', NULL, NULL)
  FROM jobs LIMIT 1
"""
COUNT_OPEN_JOBS = "SELECT darkroom_open_jobs_of('crowd')"


@pytest.mark.parametrize(
    ("jobs_before", "analyze"),
    [(JOBS, "SELECT"), (10, "ANALYZE jobs"), (JOBS, "ANALYZE")],
)
async def test_a_choice_and_an_enqueue_read_few_of_many_waiting_jobs(
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
        await _check_few_are_read(connection)
    finally:
        await connection.close()


async def test_statistics_that_were_taken_while_the_first_batch_was_stored_change_nothing(
    producer: Producer, database: Database, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await open_account(producer, "crowd", credits=1_000_000)
        order = Order(request=text_to_image(), account_id="crowd")
        async with database.pool.acquire() as storing, storing.transaction():
            await producer.enqueue_many([order] * JOBS, connection=storing)
            await connection.execute("ANALYZE")
        believed = "SELECT reltuples FROM pg_class WHERE relname = 'jobs'"
        assert await connection.fetchval(believed) == 0
        await _check_few_are_read(connection)
    finally:
        await connection.close()


async def _check_few_are_read(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    assert await _rows_read(connection, CHOOSE) < 10 * PLACES
    assert await connection.fetchval("SELECT count(*) FROM chosen_jobs") >= PLACES
    for statement in (ENQUEUE, COUNT_OPEN_JOBS):
        assert await _rows_read(connection, statement) < 3 * PLACES


async def _rows_read(connection: asyncpg.Connection[asyncpg.Record], statement: str) -> int:
    """Return how many rows of `jobs` the statement reads."""
    async with connection.transaction():
        before: int = await connection.fetchval(ROWS_READ)
        await connection.execute(statement)
        after: int = await connection.fetchval(ROWS_READ)
    return after - before
