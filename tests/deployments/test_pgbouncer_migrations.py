"""`migrate` through PgBouncer in transaction mode, whose server connections outlive its clients."""

from __future__ import annotations

import asyncio

import pytest

from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.migrations import (
    migrate,
    migration_status,
    read_migrations,
    require_current_schema,
)
from shared.adapters.postgres.schema_choice import require_search_path
from shared.errors import ConfigurationError
from tests.deployments.pgbouncer import running_pgbouncer
from tests.support.database_logins import connected

NUMBERS = [one.number for one in read_migrations()]


@pytest.mark.parametrize("connections", ["1", "2", "20"])
async def test_five_at_once_end_right_on_an_empty_and_on_a_current_database(
    empty_database_url: str, connections: str
) -> None:
    with running_pgbouncer(empty_database_url, settings={"default_pool_size": connections}) as url:
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            tasks = [group.create_task(migrate(url)) for _ in range(5)]
        assert sorted(one.number for task in tasks for one in task.result()) == NUMBERS
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            again = [group.create_task(migrate(url)) for _ in range(5)]
        assert [task.result() for task in again] == [[]] * 5
        await require_current_schema(url)
        async with connected(empty_database_url) as connection:
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert await connection.fetchval(held) == 0


async def test_a_schema_by_its_setting_is_migrated_without_a_search_path(
    empty_database_url: str,
) -> None:
    with running_pgbouncer(empty_database_url) as url:
        assert [one.number for one in await migrate(url, schema="Dark-Room x")] == NUMBERS
        assert all(one.applied_at for one in await migration_status(url, "Dark-Room x"))
    async with connected(empty_database_url) as connection:
        assert await connection.fetchval("SELECT to_regclass('public.jobs')") is None


@pytest.mark.parametrize("ignored", ["", "extra_float_digits,options"])
async def test_a_schema_that_the_pooler_would_not_pass_on_is_refused_with_what_to_type(
    empty_database_url: str, ignored: str
) -> None:
    schema = "Dark-Room x"
    await migrate(empty_database_url, schema=schema)
    settings = {"ignore_startup_parameters": ignored or "extra_float_digits"}
    sentence = "takes no search_path from a client"
    with (
        running_pgbouncer(empty_database_url, settings=settings) as url,
        pytest.raises(ConfigurationError, match=sentence) as told,
    ):
        await require_search_path(url, schema)
    statement = str(told.value).partition("instead: ")[2].partition(";")[0]
    async with connected(empty_database_url) as connection:
        try:
            await connection.execute(statement)
            with running_pgbouncer(empty_database_url, settings=settings) as url:
                assert await require_search_path(url, schema) == url
                await require_current_schema(url)
                async with connect_database(url) as database:
                    await database.ping()
        finally:
            await connection.execute(statement.partition("SET")[0] + "RESET search_path")
