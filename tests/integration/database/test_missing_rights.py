"""A plain login is told at once what it lacks, and what an administrator types makes it enough."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.migrations import (
    migrate,
    migration_status,
    read_migrations,
    require_current_schema,
)
from shared.adapters.postgres.missing_rights import list_missing_roles
from shared.adapters.postgres.named_queries import get_query, sql_folder
from shared.errors import ConfigurationError, MigrationFailed
from tests.integration.database.plain_logins import login
from tests.integration.database.test_migrations import ROLES, drop_roles, rename_roles
from tests.support.database_logins import connected, with_user

NAMES = [one.name for one in read_migrations()]


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    """An administrator."""
    async with connected(empty_database_url) as connection:
        yield connection


@pytest.fixture
async def plain(empty_database_url: str, connection: Connection) -> AsyncIterator[str]:
    """The name of a login without any right but to connect."""
    async with login(empty_database_url) as name:
        yield name


async def statements(url: str, schema: str | None = None) -> list[str]:
    """Return what `migrate` says that an administrator types."""
    with pytest.raises(MigrationFailed, match="nothing was migrated") as told:
        await migrate(url, schema=schema)
    return re.findall(r"^  (.*;)", str(told.value), re.M)


async def test_a_plain_login_is_told_everything_that_it_lacks_at_once(
    empty_database_url: str, connection: Connection, plain: str
) -> None:
    url = with_user(empty_database_url, plain)
    told = await statements(url)
    assert told == [
        f"GRANT USAGE, CREATE ON SCHEMA public TO {plain};",
        "CREATE EXTENSION btree_gist;",
    ]
    assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE oid >= 16384") == 0
    await connection.execute(" ".join(told))
    assert [one.name for one in await migrate(url)] == NAMES


@pytest.mark.parametrize(
    ("prepared", "schema", "told"),
    [
        (
            "SELECT",
            "Dark-Room x",
            ['CREATE SCHEMA "Dark-Room x" AUTHORIZATION {plain};', "CREATE EXTENSION btree_gist;"],
        ),
        (
            "CREATE SCHEMA own; CREATE EXTENSION btree_gist",
            "own",
            ["GRANT USAGE, CREATE ON SCHEMA own TO {plain};"],
        ),
        (
            "REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON LANGUAGE plpgsql FROM PUBLIC",
            None,
            [
                "GRANT USAGE, CREATE ON SCHEMA public TO {plain};",
                "GRANT USAGE ON LANGUAGE plpgsql TO {plain};",
                "CREATE EXTENSION btree_gist;",
            ],
        ),
        (
            "DROP EXTENSION plpgsql; GRANT USAGE, CREATE ON SCHEMA public TO {plain}",
            None,
            ["CREATE EXTENSION plpgsql;", "CREATE EXTENSION btree_gist;"],
        ),
    ],
)
async def test_what_is_missing_is_named_and_enough(
    empty_database_url: str,
    connection: Connection,
    plain: str,
    prepared: str,
    schema: str | None,
    told: list[str],
) -> None:
    await connection.execute(prepared.format(plain=plain))
    url = with_user(empty_database_url, plain)
    assert await statements(url, schema) == [one.format(plain=plain) for one in told]
    await connection.execute(" ".join(told).format(plain=plain))
    assert [one.name for one in await migrate(url, schema=schema)] == NAMES


async def test_who_does_not_own_the_tables_is_told_whose_they_are(
    empty_database_url: str, connection: Connection, plain: str
) -> None:
    await migrate(empty_database_url)
    owner = await connection.fetchval("SELECT current_user")
    told = await statements(with_user(empty_database_url, plain))
    assert told == [
        f"GRANT USAGE, CREATE ON SCHEMA public TO {plain};",
        f"GRANT {owner} TO {plain};",
    ]


async def test_a_login_without_a_role_is_told_to_become_a_member_of_one(
    empty_database_url: str, connection: Connection, plain: str
) -> None:
    await migrate(empty_database_url)
    url = with_user(empty_database_url, plain)
    sentence = f'login {plain} may not read Darkroom\'s tables in schema "public"'
    for check in (require_current_schema, migration_status):
        with pytest.raises(ConfigurationError, match=sentence):
            await check(url)
    await connection.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(ConfigurationError, match=sentence):
        await require_current_schema(url)
    await connection.execute(f"GRANT darkroom_readonly TO {plain}")
    await require_current_schema(url)


@pytest.mark.parametrize("schema", ["public", "Dark-Room x"])
async def test_roles_that_could_not_be_made_are_named_and_have_their_rights_once_they_are(
    empty_database_url: str, connection: Connection, plain: str, tmp_path: Path, schema: str
) -> None:
    url = with_user(empty_database_url, plain)
    await connection.execute(" ".join(await statements(url, schema)))
    folder = Path(shutil.copytree(sql_folder(), tmp_path / "sql"))
    prefix = rename_roles(folder)
    await migrate(url, folder, schema=schema)
    missing = re.sub(r"\bdarkroom_([a-z]+)\b", rf"{prefix}_\1", get_query("missing_roles"))
    told = [row["statement"] for row in await connection.fetch(missing, schema)]
    assert told[: len(ROLES)] == [f"CREATE ROLE {prefix}_{one} NOLOGIN;" for one in sorted(ROLES)]
    assert told[len(ROLES) : len(ROLES) + 2] == [
        f"GRANT {prefix}_api, {prefix}_worker TO {prefix}_service;",
        f"GRANT {prefix}_billing, {prefix}_pricing, {prefix}_readonly TO {prefix}_admin;",
    ]
    try:
        await connection.execute(" ".join(told))
        set_again: list[str] = []
        await migrate(
            url, folder, schema=schema, on_definition=lambda one: set_again.append(one.name)
        )
        assert "rights" in set_again
        assert await connection.fetch(missing, schema) == []
        for role in ("admin", "readonly"):
            async with login(empty_database_url, member_of=[f"{prefix}_{role}"]) as member:
                assert not await migrate(with_user(url, member), folder, schema=schema)
    finally:
        await drop_roles(connection, prefix)


async def test_complete_roles_need_no_statement(database_url: str) -> None:
    assert await list_missing_roles(database_url) == []
