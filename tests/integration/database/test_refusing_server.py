"""A server that refuses requests for a short time, instead of dying."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.adapters.postgres.database import Connection, Database, connect_database
from shared.errors import DatabaseRefused, PostgresDown, RowBusy
from tests.support.eventually import until

_RAISE_AT_FIRST = """
CREATE SEQUENCE tries;
CREATE FUNCTION raise_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.tries') <= {times} THEN
        RAISE EXCEPTION 'not this time' USING ERRCODE = '{sqlstate}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER raise_at_first BEFORE INSERT ON accounts
    FOR EACH ROW EXECUTE FUNCTION raise_at_first();
"""


@pytest.fixture
async def operator(database_url: str) -> AsyncIterator[Connection]:
    """A connection that changes the server's settings, and the name of the test's database."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET default_transaction_read_only = off; SET statement_timeout = 0")
    yield connection
    await connection.close()


def database_name(url: str) -> str:
    """Return the name of the database in a URL."""
    return urlsplit(url).path.strip("/")


async def refusal_of(database: Database, account_id: str) -> PostgresDown | RowBusy:
    """Try to create an account, and return the server's error."""
    said = "Postgres cannot do this now|is locked by another session"
    with pytest.raises((PostgresDown, RowBusy), match=said) as caught:
        await database.fetch_row("create_account", account_id, 0, None)
    refusal = caught.value
    assert isinstance(refusal, PostgresDown | RowBusy)
    return refusal


async def is_connected(database: Database) -> bool:
    """Return whether the pool has an open connection."""
    return database.pool.get_size() > 0


@pytest.mark.parametrize(
    ("setting", "value", "sqlstate"),
    [
        ("default_transaction_read_only", "on", "25006"),
        ("role", "pg_monitor", "42501"),
        ("search_path", "'nowhere'", "42883"),
    ],
)
async def test_connections_made_under_a_bad_setting_do_not_outlive_it(
    database_url: str, operator: Connection, setting: str, value: str, sqlstate: str
) -> None:
    name = database_name(database_url)
    async with connect_database(database_url, connections=1) as database:
        await operator.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        await database.pool.expire_connections()
        refused = await refusal_of(database, "acme")
        assert refused.sqlstate == sqlstate
        assert f"(SQLSTATE {sqlstate})" in str(refused)
        # The pool replaces its discarded connection in the background, still under the setting.
        await until(lambda: is_connected(database), "connected again")
        await operator.execute(f"ALTER DATABASE {name} RESET {setting}")
        assert (await refusal_of(database, "acme")).sqlstate == sqlstate
        assert await database.fetch_row("create_account", "acme", 0, None) is not None


async def test_no_connection_of_a_demoted_server_is_read_from_again(
    database_url: str, operator: Connection
) -> None:
    name = database_name(database_url)
    async with connect_database(database_url, connections=3) as database:
        await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connections = [await database.pool.acquire() for _ in range(3)]
        pids = {connection.get_server_pid() for connection in connections}
        for connection in connections:
            await connection.execute("SET default_transaction_read_only = on")
            await database.pool.release(connection)
        await refusal_of(database, "acme")
        await operator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        for connection in [await database.pool.acquire() for _ in range(3)]:
            assert connection.get_server_pid() not in pids
            assert await connection.fetchval("SHOW transaction_read_only") == "off"


@pytest.mark.parametrize("level", ["serializable", "repeatable read", "read uncommitted"])
async def test_the_servers_default_isolation_does_not_matter(
    database_url: str, operator: Connection, level: str
) -> None:
    name = database_name(database_url)
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    async with connect_database(database_url, connections=1) as database:
        async with database.pool.acquire() as connection:
            assert await connection.fetchval("SHOW transaction_isolation") == "read committed"
            await connection.execute("RESET default_transaction_isolation")
        # A pooler may use another session, in which nothing was set.
        async with database.transaction() as queries:
            assert (
                await queries.connection.fetchval("SHOW transaction_isolation") == "read committed"
            )


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_statement_that_was_rolled_back_is_run_again_at_once(
    database: Database, operator: Connection, sqlstate: str
) -> None:
    await operator.execute(_RAISE_AT_FIRST.format(times=3, sqlstate=sqlstate))
    assert await database.fetch_row("create_account", "acme", 0, None) is not None
    assert await operator.fetchval("SELECT last_value FROM tries") == 4


async def test_repeating_a_rolled_back_statement_has_an_end(
    database: Database, operator: Connection
) -> None:
    await operator.execute(_RAISE_AT_FIRST.format(times=4, sqlstate="40001"))
    assert (await refusal_of(database, "acme")).sqlstate == "40001"
    assert await operator.fetchval("SELECT last_value FROM tries") == 4


@pytest.mark.parametrize("sqlstate", ["53100", "53200", "58030", "XX000", "55P03"])
async def test_what_may_have_another_cause_is_not_repeated_here(
    database: Database, operator: Connection, sqlstate: str
) -> None:
    await operator.execute(_RAISE_AT_FIRST.format(times=1, sqlstate=sqlstate))
    assert (await refusal_of(database, "acme")).sqlstate == sqlstate
    assert await operator.fetchval("SELECT last_value FROM tries") == 1
    assert await database.fetch_row("create_account", "acme", 0, None) is not None


async def test_a_statement_whose_prepared_one_is_gone_is_repeated_and_prepared_no_more(
    database_url: str,
) -> None:
    async with connect_database(database_url, connections=1) as database:
        await database.fetch_row("get_account", "acme")
        async with database.pool.acquire() as connection:
            await connection.execute("DEALLOCATE ALL")
        assert await database.fetch_row("get_account", "acme") is None
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"
        assert await database.pool.fetchval(prepared) == 0


async def test_a_rule_of_ours_is_still_a_refusal_and_keeps_the_connection(
    database_url: str,
) -> None:
    async with connect_database(database_url, connections=1) as database:
        pid = await database.pool.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(DatabaseRefused) as caught:
            await database.fetch_row("grant_to_account", "nobody", 1, "top-up", False, None, None)
        assert caught.value.sqlstate == "DR404"
        assert await database.pool.fetchval("SELECT pg_backend_pid()") == pid


async def test_a_transaction_on_a_spoiled_connection_ends_it(database_url: str) -> None:
    async def write_though_read_only(database: Database) -> None:
        async with database.transaction() as queries:
            await queries.connection.execute("SET TRANSACTION READ ONLY")
            await queries.fetch_row("create_account", "acme", 0, None)

    async with connect_database(database_url, connections=1) as database:
        pid = await database.pool.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(PostgresDown, match="SQLSTATE 25006"):
            await write_though_read_only(database)
        assert await database.pool.fetchval("SELECT pg_backend_pid()") != pid
