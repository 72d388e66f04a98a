"""Behind a pooler: no names for statements, and settings for each transaction alone."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from shared.adapters.embedded import EmbeddedServers
from shared.adapters.postgres.connections.notification_check import (
    NOT_HEARD,
    find_unheard_reason,
)
from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.named_queries import get_query, may_wait_for_lock, query_names
from shared.errors import DatabaseRefused, PostgresDown, RowBusy
from shared.postgres_url import set_parameter
from tests.fakes.pooler import pooler_in_front_of
from tests.support.deployment import eventually

_NAMED = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"
_WAITING = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database())"
)
_TERMINATE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
_GRANT = ("grant_to_account", "acme", 5, "a gift", False, None, None)


async def wait_for_waiting(direct: asyncpg.Connection[asyncpg.Record]) -> None:
    async def is_waiting() -> bool:
        return bool(await direct.fetchval(_WAITING))

    await eventually(is_waiting, "a session waits for a lock")


async def named_statements(url: str) -> int:
    async with connect_database(url, connections=1) as database:
        for _ in range(2):
            await database.fetch_row("get_account", "acme")
        return int(await database.pool.fetchval(_NAMED))


async def test_statements_have_names_only_without_a_pooler_or_where_it_is_wanted(
    database_url: str,
) -> None:
    assert await named_statements(database_url) > 0
    assert await named_statements(set_parameter(database_url, "statement_cache_size", "0")) == 0
    assert await named_statements(set_parameter(database_url, "pgbouncer", "true")) == 0
    async with pooler_in_front_of(database_url) as url:
        assert await named_statements(url) == 0
        assert await named_statements(f"{url}?target_session_attrs=read-write") == 0
        assert await named_statements(set_parameter(url, "statement_cache_size", "100")) > 0


async def test_no_setting_stays_in_a_pooled_session(database_url: str) -> None:
    async with (
        pooler_in_front_of(database_url) as url,
        connect_database(url, connections=1, lock_timeout_seconds=0.3) as database,
    ):
        await database.fetch_row("create_account", "acme", 0, None)
        assert await database.pool.fetchval("SHOW lock_timeout") == "0"
        async with database.transaction() as queries:
            assert await queries.connection.fetchval("SHOW lock_timeout") == "300ms"
        assert await database.pool.fetchval("SHOW lock_timeout") == "0"
    async with connect_database(database_url, lock_timeout_seconds=0.3) as database:
        assert await database.pool.fetchval("SHOW lock_timeout") == "300ms"


async def test_a_lock_is_given_up_in_time_and_the_connection_is_free_again(
    database_url: str,
) -> None:
    direct = await asyncpg.connect(database_url)
    async with (
        pooler_in_front_of(database_url) as url,
        connect_database(url, connections=1, lock_timeout_seconds=0.1) as database,
    ):
        await database.fetch_row("create_account", "acme", 0, None)
        async with direct.transaction():
            await direct.execute("SELECT FROM accounts WHERE id = 'acme' FOR UPDATE")
            with pytest.raises(RowBusy):
                await database.fetch_row(*_GRANT)
        granted = await database.fetch_row(*_GRANT)
        assert granted is not None
        assert granted["balance"] == 5
        with pytest.raises(DatabaseRefused):
            await database.fetch_row("grant_to_account", "nobody", 5, "x", False, None, None)
        assert await database.fetch_row("get_account", "acme") is not None
    await direct.close()


async def test_what_is_cancelled_or_dies_before_its_commit_is_not_stored(
    database_url: str,
) -> None:
    """The commit is a message of its own here: nothing is stored before it."""
    direct = await asyncpg.connect(database_url)
    # A transaction sees the sessions as they were when it looked first.
    watcher = await asyncpg.connect(database_url)
    async with (
        pooler_in_front_of(database_url) as url,
        connect_database(url, connections=1) as database,
    ):
        await database.fetch_row("create_account", "acme", 0, None)
        async with direct.transaction():
            await direct.execute("SELECT FROM accounts WHERE id = 'acme' FOR UPDATE")
            cancelled = asyncio.ensure_future(database.fetch_row(*_GRANT))
            await wait_for_waiting(watcher)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            await watcher.execute(_TERMINATE)
            killed = asyncio.ensure_future(database.fetch_row(*_GRANT))
            await wait_for_waiting(watcher)
            await watcher.execute(_TERMINATE)
            with pytest.raises(PostgresDown):
                await killed
        account = await database.fetch_row("get_account", "acme")
        assert account is not None
        assert account["balance"] == 0
    await direct.close()
    await watcher.close()


async def test_a_direct_url_to_another_database_is_found(
    database_url: str, embedded: EmbeddedServers
) -> None:
    assert embedded.database_url is not None
    async with connect_database(database_url) as database:
        assert await find_unheard_reason(database_url, database) is None
        assert await find_unheard_reason(embedded.database_url, database) == NOT_HEARD


def test_every_statement_that_writes_or_calls_a_function_of_ours_counts_as_locking() -> None:
    calls = re.compile(r"^ *(SELECT|FROM|JOIN)\b[^-'\n]*\b(darkroom_\w+|grant_credits)\(", re.M)
    writes = re.compile(r"^[^-'\n]*\b(INSERT INTO|DELETE FROM|UPDATE \w+|FOR UPDATE)\b", re.M)
    locking = {
        name
        for name in query_names()
        if calls.search(get_query(name)) or writes.search(get_query(name))
    }
    assert len(locking) > 50
    assert {name for name in locking if not may_wait_for_lock(name)} == set()
    assert not may_wait_for_lock("get_account")
