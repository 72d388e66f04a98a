"""Functions and rights are applied again when their text changes, all of them or none."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.migrations import definition_status, migrate, require_current_schema
from shared.adapters.postgres.named_queries import sql_folder
from shared.adapters.postgres.sql_definitions import SqlDefinition, read_definitions
from shared.errors import MigrationFailed, SchemaOutdated
from tests.integration.database.test_migrations import drop_roles, rename_roles
from tests.support.database_logins import connected, with_user

NAMES = [one.name for one in read_definitions()]
_ANSWER = """
CREATE OR REPLACE FUNCTION darkroom_answer() RETURNS integer LANGUAGE sql AS 'SELECT {}';
COMMENT ON FUNCTION darkroom_answer() IS 'For the test.';
"""
_MAY_CALL = "SELECT has_function_privilege('public', 'darkroom_answer()', 'EXECUTE')"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder `sql` that the test may change."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "sql"))


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    """Another connection to the same database."""
    async with connected(empty_database_url) as connection:
        yield connection


async def applied_by(url: str, folder: Path | None = None) -> list[str]:
    """Migrate, and return the definitions that were applied."""
    applied: list[SqlDefinition] = []
    await migrate(url, folder, on_definition=applied.append)
    return [one.name for one in applied]


async def test_what_changed_is_applied_again_and_nothing_else(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    assert await applied_by(empty_database_url, folder) == NAMES
    assert (NAMES[0], NAMES[-1]) == ("roles", "rights")
    assert await applied_by(empty_database_url, folder) == []

    new = folder / "functions/answer.sql"
    new.write_text(_ANSWER.format(42))
    assert await applied_by(empty_database_url, folder) == ["functions/answer", "rights"]
    # By default every role may execute a function. Here no role may, from its creation on.
    assert not await connection.fetchval(_MAY_CALL)

    new.write_text(_ANSWER.format(43))
    assert await applied_by(empty_database_url, folder) == ["functions/answer", "rights"]
    assert await connection.fetchval("SELECT darkroom_answer()") == 43
    assert not await connection.fetchval(_MAY_CALL)


async def test_rights_are_given_again_after_a_migration(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    await migrate(empty_database_url, folder)
    number = len(list((folder / "migrations").iterdir())) + 1
    (folder / f"migrations/{number:04}_answers.sql").write_text(_ANSWER.format(42))
    assert await applied_by(empty_database_url, folder) == ["rights"]
    assert not await connection.fetchval(_MAY_CALL)


@pytest.mark.parametrize(
    ("file", "sql"),
    [
        ("functions/a_broken", "CREATE FUNCTION darkroom_broken() RETURNS integer AS"),
        ("functions/z_broken", "SELECT 1 / 0"),
        ("roles", "CREATE ROLE darkroom_api"),
        ("rights", "GRANT SELECT ON nothing TO PUBLIC"),
    ],
)
async def test_a_failing_definition_leaves_none_of_them(
    empty_database_url: str, folder: Path, connection: Connection, file: str, sql: str
) -> None:
    await migrate(empty_database_url, folder)
    before = await connection.fetch("SELECT * FROM darkroom_definitions ORDER BY name")
    (folder / "functions/m_answer.sql").write_text(_ANSWER.format(42))
    (folder / f"{file}.sql").write_text(sql)
    with pytest.raises(MigrationFailed, match=rf"sql/{file}\.sql was refused and rolled back"):
        await migrate(empty_database_url, folder)
    assert await connection.fetch("SELECT * FROM darkroom_definitions ORDER BY name") == before
    assert await connection.fetchval("SELECT to_regproc('darkroom_answer')") is None


async def test_several_that_migrate_at_once_apply_each_once(
    empty_database_url: str, folder: Path
) -> None:
    await migrate(empty_database_url, folder)
    (folder / "functions/answer.sql").write_text(_ANSWER.format(42))
    applied = await asyncio.gather(*(applied_by(empty_database_url, folder) for _ in range(3)))
    assert sorted(applied) == [[], [], ["functions/answer", "rights"]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DELETE FROM darkroom_definitions WHERE name = 'functions/enqueue'", "functions/enqueue"),
        ("UPDATE darkroom_definitions SET checksum = 'x' WHERE name = 'rights'", "rights"),
        ("DROP TABLE darkroom_definitions", ", ".join(NAMES)),
    ],
)
async def test_a_database_with_other_functions_is_refused_until_it_is_migrated(
    database_url: str, change: str, named: str
) -> None:
    await require_current_schema(database_url)
    async with connected(database_url) as connection:
        await connection.execute(change)
    with pytest.raises(SchemaOutdated, match=rf"of Darkroom: {named}; run `darkroom migrate`"):
        await require_current_schema(database_url)
    missing = [one.name for one in await definition_status(database_url) if not one.applied_at]
    assert ", ".join(missing) == named
    await migrate(database_url)
    await require_current_schema(database_url)


async def test_a_role_that_is_made_later_gets_its_rights_by_the_next_migrate(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    prefix = rename_roles(folder)
    owner, worker = f"{prefix}_owner", f"{prefix}_worker"
    database = urlsplit(empty_database_url).path.removeprefix("/")
    await connection.execute(f"CREATE ROLE {owner} LOGIN")
    await connection.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
    owners_url = with_user(empty_database_url, owner)
    may_claim = (
        f"SELECT bool_or(has_function_privilege('{worker}', oid, 'EXECUTE')) FROM pg_proc"
        " WHERE proname = 'darkroom_claim_jobs'"
    )
    try:
        assert await applied_by(owners_url, folder) == NAMES
        await connection.execute(f"CREATE ROLE {worker} NOLOGIN")
        assert not await connection.fetchval(may_claim)
        assert await applied_by(owners_url, folder) == ["roles", "rights"]
        assert await connection.fetchval(may_claim)
        assert await applied_by(owners_url, folder) == []
    finally:
        await connection.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER")
        await connection.execute(f"DROP OWNED BY {owner}, {worker}; DROP ROLE {owner}, {worker}")


async def test_the_whole_roles_are_members_of_their_parts(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    prefix = rename_roles(folder)
    await migrate(empty_database_url, folder)
    rows = await connection.fetch(
        "SELECT member::regrole::text AS whole, roleid::regrole::text AS part"
        "  FROM pg_auth_members WHERE member::regrole::text LIKE $1",
        f"{prefix}%",
    )
    assert {(row["whole"].rpartition("_")[2], row["part"].rpartition("_")[2]) for row in rows} == {
        *(("service", "api"), ("service", "worker"), ("admin", "pricing")),
        *(("admin", "billing"), ("admin", "readonly")),
    }
    await drop_roles(connection, prefix)


async def test_no_login_without_a_role_may_call_our_functions(database_url: str) -> None:
    async with connected(database_url) as connection:
        rows = await connection.fetch(
            "SELECT proname, has_function_privilege('public', oid, 'EXECUTE') AS is_open"
            "  FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            "   AND (proname LIKE 'darkroom\\_%' OR proname = 'grant_credits')"
        )
        assert len(rows) > 30
        assert [row["proname"] for row in rows if row["is_open"]] == []
