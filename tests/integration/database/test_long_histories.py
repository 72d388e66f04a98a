"""Frequent queries read only what they need, for any number of ended or queued jobs."""

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
RARE = "reason = 'wrong_endpoint', priority = 'high', model = 'rare', idempotency_key = 'rare',\
 metadata = '{\"order\": 1042}'"
"""A value of the oldest failed job only. A search from the newest job finds it last."""
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"account_id": "a1"},
    {"account_id": "a1", "state": ["failed"]},
    {"account_id": "nobody"},
    {"state": ["failed"]},
    {"state": ["failed", "cancelled"]},
    {"reason": "wrong_endpoint"},
    {"reason": "content_policy"},
    {"model": "rare"},
    {"model": "gpt-4o-image"},
    {"task": "image-to-image"},
    {"priority": "high"},
    {"created_to": "2000-01-01T00:00:00+00:00"},
    {"provider_task_id": "nobody's"},
    {"idempotency_key": "rare"},
    {"metadata": [{"order": "1042"}, {"order": 1042}]},
    {"retried": "true"},
    {"retried": "false", "account_id": "a1", "state": ["failed"]},
)
COMBINED: tuple[dict[str, Any], ...] = (
    {"state": ["succeeded"], "task": "image-to-image"},
    {"state": ["succeeded"], "model": "rare"},
    {"state": ["failed"], "model": "rare"},
    {"state": ["queued"], "retried": "true"},
    {"account_id": "acme", "priority": "high", "reason": "wrong_endpoint"},
    {"reason": "provider_failed", "created_to": "2000-01-01T00:00:00+00:00"},
    {"reason": "wrong_endpoint", "metadata": [{"env": "live"}]},
    {"state": ["succeeded"], "metadata": [{"shop": "s7"}]},
    {"scheduled": "true", "task": "image-to-image"},
    {"scheduled": "true", "account_id": "acme"},
)
"""Many jobs, or many new ones, match one filter or both, and none or an old one both together."""
COUNTED = tuple(
    one for one in FILTERS if one not in ({}, {"model": "gpt-4o-image"}, {"task": "image-to-image"})
)
"""A count reads an index entry for each job that it counts."""
ASKED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    *(("list_jobs", (None, PAGE, True, True, MIB, json.dumps(one))) for one in FILTERS + COMBINED),
    *(("count_jobs", (json.dumps(one),)) for one in COUNTED),
    ("list_ledger", ("a1", None, PAGE, MIB)),
    ("open_jobs_after", ("", LONG_AGO, UUID(int=0), PAGE, 2.0)),
    ("fresh_open_jobs", (60.0, 2.0, PAGE)),
)


@pytest.fixture
async def history(database_url: str) -> asyncpg.Connection[asyncpg.Record]:
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        settings = {"ended": ENDED, "queued": QUEUED, "accounts": 10, "varied": "yes"}
        for name, value in settings.items():
            await connection.execute("SELECT set_config($1, $2, true)", f"bench.{name}", str(value))
        await connection.execute(FILL.read_text(encoding="utf-8"))
    await connection.execute(
        "SET darkroom.confirm = 'yes';"
        " INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('rare', 'text-to-image', 1, 1, 1); RESET darkroom.confirm"
    )
    await connection.execute(
        f"UPDATE jobs SET {RARE} WHERE id ="
        " (SELECT id FROM jobs WHERE state = 'failed' ORDER BY id LIMIT 1)"
    )
    # Rows of jobs that wait are short, and would fill the gaps of older pages.
    await connection.execute("CLUSTER jobs USING jobs_pkey")
    await connection.execute("VACUUM ANALYZE jobs, pricing_history")
    return connection


async def test_no_list_and_no_check_scans_the_history_or_the_queue(
    history: asyncpg.Connection[asyncpg.Record],
) -> None:
    try:
        touched = {}
        for query, arguments in ASKED:
            explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {get_query(query)}"
            # The first call of a connection reads catalogs as well.
            await history.fetch(get_query(query), *arguments)
            touched[query, *arguments] = _blocks(await history.fetchval(explained, *arguments))
    finally:
        await history.close()
    # A job of a page is found by its id: its block, and three of the index. The planner reads some
    # as well.
    assert not {
        asked: blocks
        for asked, blocks in touched.items()
        # Of these, each job that is passed over is looked up.
        if blocks > (10 if "retried" in str(asked) or "scheduled" in str(asked) else 6) * PAGE
    }, touched


async def test_a_list_has_the_newest_jobs_that_match_whatever_it_starts_from(
    history: asyncpg.Connection[asyncpg.Record],
) -> None:
    newest = "SELECT id FROM jobs WHERE darkroom_job_matches(jobs, $1) ORDER BY id DESC LIMIT 50"
    try:
        for one in FILTERS + COMBINED:
            found = await history.fetch("SELECT darkroom_find_jobs($1) AS id", json.dumps(one))
            assert found == await history.fetch(newest, json.dumps(one)), one
    finally:
        await history.close()


SAMPLE_DAY = """
INSERT INTO history_samples
SELECT (jsonb_populate_record(sample, jsonb_build_object('starts_at', begins))).*
  FROM history_samples AS sample,
       generate_series(date_trunc('day', now(), 'UTC'), sample.starts_at - interval '5 min',
                       '5 min') AS begins
 WHERE sample.interval_seconds = 300
"""
FIGURES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("queue_snapshot", (300.0,)),
    ("read_situation", (300.0, 50, 300.0, 2.0, 8.0, 15.0, 3_600.0, 8.0, 5.0, 10_000, 600.0)),
    ("day_totals", ()),
)


async def test_neither_the_figures_nor_the_alerts_go_through_the_history(
    history: asyncpg.Connection[asyncpg.Record],
) -> None:
    try:
        # While workers run, samples cover the day up to the last minutes.
        await history.execute("SELECT darkroom_sample_history('{}')")
        await history.execute(SAMPLE_DAY)
        whole = await history.fetchval("SELECT pg_relation_size('jobs') / 8192")
        touched = {}
        for query, arguments in FIGURES:
            explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {get_query(query)}"
            touched[query] = _blocks(await history.fetchval(explained, *arguments))
    finally:
        await history.close()
    # A fifth of the jobs waits, and is read in part more than once.
    assert not {query: blocks for query, blocks in touched.items() if blocks > whole / 2}, (
        touched,
        whole,
    )


def _blocks(plan: str) -> int:
    whole = json.loads(plan)[0]["Plan"]
    return int(whole["Shared Hit Blocks"]) + int(whole["Shared Read Blocks"])
