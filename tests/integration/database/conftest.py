"""Fixtures: a setup on a migrated database, and a database without migrations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from shared.adapters.postgres.database import Database
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.database_pool import DatabasePool, with_database


@pytest.fixture
async def setup(database: Database) -> DatabaseSetup:
    """A setup whose account `acme` has 1,000 credits."""
    setup = DatabaseSetup(database)
    await setup.open_account()
    return setup


@pytest.fixture
async def empty_database_url(databases: DatabasePool) -> AsyncIterator[str]:
    """The URL of a database without migrations."""
    name = f"e{uuid4().hex}"
    connection = await asyncpg.connect(databases.server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        yield with_database(databases.server_url, name)
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()
