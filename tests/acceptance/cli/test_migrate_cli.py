"""`darkroom migrate` with Postgres alone: in a schema of its own, and as a plain login."""

from __future__ import annotations

import pytest

from tests.acceptance.cli.cli_program import Darkroom
from tests.integration.database.plain_logins import login
from tests.support.database_logins import connected, with_user

ALONE = {"REDIS_URL": "", "KIE_API_KEY": ""}


@pytest.fixture
def alone(darkroom: Darkroom, empty_database_url: str) -> Darkroom:
    """The command line with nothing but a database without migrations."""
    return darkroom.elsewhere(DATABASE_URL=empty_database_url, **ALONE)


async def test_a_schema_by_its_setting_is_made_and_used_and_another_path_is_refused(
    alone: Darkroom,
) -> None:
    own = alone.elsewhere(DATABASE_SCHEMA="Dark-Room x")
    migrated = await own.run("migrate")
    assert migrated.code == 0, migrated.err
    assert "applied 0001_initial" in migrated.lines
    assert (await own.run("accounts", "create", "acme", "--credits", "5")).code == 0
    assert "acme" in (await own.run("accounts", "list")).out
    assert "missing" not in (await own.run("migrate", "--status")).out
    for words in (("accounts", "list"), ("migrate",)):
        refused = await alone.run(*words)
        assert refused.code == 2
        assert 'in schema "Dark-Room x"' in refused.err
        assert "set DATABASE_SCHEMA=Dark-Room x" in " ".join(refused.err.split())
        assert "next:" not in refused.err
    refused = await alone.elsewhere(DATABASE_SCHEMA="it's").run("migrate")
    assert refused.code == 2
    assert "DATABASE_SCHEMA" in refused.err


async def test_a_plain_login_is_told_what_an_administrator_types_and_which_roles_are_missing(
    alone: Darkroom, empty_database_url: str
) -> None:
    async with connected(empty_database_url) as superuser, login(empty_database_url) as name:
        plain = alone.elsewhere(DATABASE_URL=with_user(empty_database_url, name))
        refused = await plain.run("migrate")
        assert refused.code == 1
        for statement in (
            f"GRANT USAGE, CREATE ON SCHEMA public TO {name};",
            "CREATE EXTENSION btree_gist;",
        ):
            assert statement in refused.err
            await superuser.execute(statement)
        await superuser.execute("REVOKE darkroom_api FROM darkroom_service")
        try:
            migrated = await plain.run("migrate", "--json")
            assert migrated.code == 0, migrated.err
            assert migrated.objects[0]["name"] == "initial"
            assert "GRANT darkroom_api TO darkroom_service;" in migrated.err
        finally:
            await superuser.execute("GRANT darkroom_api TO darkroom_service")
        assert "GRANT" not in (await plain.run("migrate")).err
