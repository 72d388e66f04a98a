"""Darkroom behind PgBouncer in transaction mode."""

from __future__ import annotations

from shared.adapters.postgres.database import connect_database
from tests.deployments.pgbouncer import running_pgbouncer


async def test_statements_run_through_pgbouncer_in_transaction_mode(database_url: str) -> None:
    with running_pgbouncer(database_url) as url:
        async with connect_database(url) as database:
            await database.ping()
