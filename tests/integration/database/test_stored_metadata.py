"""The size of a job's metadata is limited by its stored form, for every writer."""

from __future__ import annotations

from typing import Any

import asyncpg
import orjson
import pytest

from producer.orders.order_fields import stored_length
from tests.integration.database.database_setup import DatabaseSetup
from tests.unit.producer.test_orders import BOMBS

NUMBERS: list[Any] = [
    1e308, 1e-308, 5e-324, 1.5e-7, -2.25e22, 1e16, 123456789.125, 0.1, -0.0, 1e15, 2**63 - 1,
    1.7976931348623157e308, {"1e308": [1e100, "1e100", "\\", '"1e5"', {"e": -1e-100}]},
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: str(value)[:20])
async def test_the_length_is_never_underestimated(setup: DatabaseSetup, value: Any) -> None:
    text = orjson.dumps({"a": value})
    stored = await setup.database.pool.fetchval("SELECT ($1::text::jsonb)::text", text.decode())
    spaces = text.count(b",") + text.count(b":")
    assert len(stored.encode()) <= stored_length(text) + spaces


_UPDATE = "UPDATE jobs SET metadata = $2::text::jsonb WHERE id = $1"
_INSERT = """
    INSERT INTO jobs SELECT (jsonb_populate_record(
        job, jsonb_build_object('id', gen_random_uuid(), 'metadata', $2::text::jsonb))).*
    FROM jobs AS job WHERE id = $1"""


@pytest.mark.parametrize("statement", [_UPDATE, _INSERT], ids=["update", "insert"])
@pytest.mark.parametrize("bomb", BOMBS[:3], ids=lambda bomb: str(bomb)[:20])
async def test_plain_sql_stores_no_more_than_64_kib_of_notes(
    setup: DatabaseSetup, bomb: list[Any], statement: str
) -> None:
    job = await setup.enqueue()
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await setup.database.pool.execute(statement, job.id, _notes(bomb * 4))
    assert refused.value.constraint_name == "metadata_must_stay_short"
    assert await setup.database.pool.execute(_UPDATE, job.id, _notes(bomb[:20])) == "UPDATE 1"


def _notes(value: Any) -> str:
    return orjson.dumps({"a": value}).decode()


async def test_a_row_that_is_longer_already_can_still_end(setup: DatabaseSetup) -> None:
    job = await setup.enqueue()
    async with setup.database.pool.acquire() as connection, connection.transaction():
        # As stored before there was a limit.
        await connection.execute("ALTER TABLE jobs DISABLE TRIGGER jobs_metadata_must_stay_short")
        await connection.execute(_UPDATE, job.id, _notes([1e308] * 400))
        await connection.execute("ALTER TABLE jobs ENABLE TRIGGER jobs_metadata_must_stay_short")
    cancelled = await setup.book.cancel(job.id)
    assert cancelled.state == "cancelled"
