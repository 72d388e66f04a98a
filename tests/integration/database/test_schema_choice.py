"""Darkroom's tables may be in any schema, and two Darkrooms in two schemas of one database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.migrations import (
    migrate,
    migration_status,
    read_migrations,
    require_current_schema,
)
from shared.errors import SettingsRefused
from tests.integration.database.plain_logins import login
from tests.support.database_logins import connected, with_user

NAMES = [one.name for one in read_migrations()]
MADE_BY_US = """
SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relname = 'darkroom_migrations' ORDER BY nspname
"""


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    """Another connection to the same database."""
    async with connected(empty_database_url) as connection:
        yield connection


async def schemas(connection: Connection) -> list[str]:
    return [row["nspname"] for row in await connection.fetch(MADE_BY_US)]


@pytest.mark.parametrize("schema", ["Dark-Room x", "select"])
async def test_a_database_without_public_is_migrated_in_a_schema_of_any_name(
    empty_database_url: str, connection: Connection, schema: str
) -> None:
    await connection.execute("DROP SCHEMA public")
    applied = await migrate(empty_database_url, schema=schema)
    assert [one.name for one in applied] == NAMES
    assert await schemas(connection) == [schema]
    assert all(one.applied_at for one in await migration_status(empty_database_url, schema))
    database = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{database}" SET search_path = "{schema}"')
    await require_current_schema(empty_database_url)
    assert await migrate(empty_database_url) == []
    elsewhere = await connection.fetch(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace <> $1::text::regnamespace"
        " UNION ALL SELECT proname FROM pg_proc"
        " WHERE prosecdef AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting"
        "        WHERE setting LIKE 'search_path=%' AND setting NOT LIKE '%public%')",
        f'"{schema}"',
    )
    assert not elsewhere


async def test_an_installation_in_public_goes_on_when_a_schema_of_the_logins_name_appears(
    empty_database_url: str, connection: Connection
) -> None:
    await migrate(empty_database_url)
    async with login(empty_database_url) as name:
        await connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
        await connection.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        await connection.execute(f"GRANT SELECT ON darkroom_migrations TO {name}")
        await connection.execute(f"GRANT SELECT ON darkroom_definitions TO {name}")
        assert await migrate(with_user(empty_database_url, name)) == []
        assert await schemas(connection) == ["public"]


async def test_a_search_path_that_leads_elsewhere_is_refused_and_nothing_is_made(
    empty_database_url: str, connection: Connection
) -> None:
    await migrate(empty_database_url)
    await connection.execute('CREATE SCHEMA "Other"')
    url = f"{empty_database_url}?options=-csearch_path%3D%22Other%22"
    sentence = (
        r'in schema "public" of this database, and search_path \("Other"\) leads to schema "Other":'
        r" set DATABASE_SCHEMA=public to go on with them, or DATABASE_SCHEMA=Other for a second"
    )
    for check in (migrate, migration_status, require_current_schema):
        with pytest.raises(SettingsRefused, match=sentence):
            await check(url)
    assert await schemas(connection) == ["public"]
    assert len(await migrate(url, schema="Other")) == len(NAMES)
    assert await schemas(connection) == ["Other", "public"]


async def test_a_search_path_to_no_schema_is_refused_with_what_to_set(
    empty_database_url: str,
) -> None:
    url = f"{empty_database_url}?options=-csearch_path%3Dnowhere"
    with pytest.raises(SettingsRefused, match=r"search_path \(nowhere\) names no schema"):
        await migrate(url)
