"""Directly after a large insert Postgres has no statistics, and plans for a few jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg

from producer import Order, Producer
from shared.adapters.postgres.named_queries import get_query
from tests.integration.producer.client_setup import open_account
from tests.support.deployment import text_to_image

JOBS = 3_000


async def test_the_search_for_fresh_jobs_compares_none_with_each_other(
    producer: Producer, database_url: str
) -> None:
    await open_account(producer, "crowd", credits=1_000_000)
    order = Order(request=text_to_image(), account_id="crowd")
    await producer.enqueue_many([order] * JOBS)
    connection = await asyncpg.connect(database_url)
    try:
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {get_query('fresh_open_jobs')}"
        plan = json.loads(await connection.fetchval(explained, 60.0, 0.0, JOBS))[0]["Plan"]
    finally:
        await connection.close()

    assert plan["Actual Rows"] == JOBS
    handled = max(_rows_handled(node) for node in _nodes(plan))
    assert handled <= 10 * JOBS, f"{handled} rows in one node of the plan for {JOBS} jobs"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _rows_handled(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])
