"""Fixtures: a setup on a migrated database."""

from __future__ import annotations

import pytest

from shared.adapters.postgres.database import Database
from tests.integration.database.database_setup import DatabaseSetup


@pytest.fixture
async def setup(database: Database) -> DatabaseSetup:
    """A setup whose account `acme` has 1,000 credits."""
    setup = DatabaseSetup(database)
    await setup.open_account()
    return setup
