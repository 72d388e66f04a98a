"""What is written of array types: as the server says, and enough for all our statements."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from shared.adapters.postgres.connections.array_types import ELEMENTS, describe_arrays
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.named_queries import get_query, query_names

_TYPES = """
SELECT oid::integer AS oid, typnamespace::regnamespace::text AS ns, typname::text AS name,
       typtype AS kind, typelem::integer AS elemtype, convert_from(typdelim::text::bytea, 'UTF8')
       AS elemdelim
FROM pg_type WHERE typname = ANY ($1::text[]) AND typnamespace = 'pg_catalog'::regnamespace
"""
VALUES: dict[str, list[Any]] = {
    "bool": [True, None],
    "int4": [[1, None], [2, 3]],
    "int8": [2**60],
    "float8": [1.5, None],
    "timestamptz": [datetime(2026, 1, 1, tzinfo=UTC)],
    "numeric": [Decimal("0.10")],
    "uuid": [UUID(int=7)],
}


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The types about which the driver has asked the server."""
    asked: list[int] = []
    ask = asyncpg.Connection._introspect_types  # type: ignore[attr-defined]

    async def note(self: Any, numbers: Any, timeout: float | None) -> Any:
        asked.extend(numbers)
        return await ask(self, numbers, timeout)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", note)
    return asked


async def test_each_array_type_is_as_the_server_describes_it(database: Database) -> None:
    told = await database.pool.fetch(_TYPES, [f"_{name}" for name in VALUES])
    assert {row["oid"] for row in told} == set(ELEMENTS)
    written = describe_arrays(row["oid"] for row in told)
    assert written is not None
    for row, one in zip(told, written, strict=True):
        assert dict(row).items() <= one.items()


async def test_no_statement_of_ours_lets_the_driver_ask_about_types(
    database: Database, questions: list[int]
) -> None:
    async with database.pool.acquire() as connection:
        for name in query_names():
            await connection.prepare(get_query(name))
    assert questions == []


async def test_arrays_are_read_and_written_whether_their_type_is_written_here_or_not(
    database: Database, questions: list[int]
) -> None:
    for name, value in VALUES.items():
        assert await database.pool.fetchval(f"SELECT $1::{name}[]", value) == value
    assert questions == []
    assert await database.pool.fetchval("SELECT $1::int2[] || '{3}'", [1, 2]) == [1, 2, 3]
    assert len(questions) == 1
