"""A database is lent again only if nothing but rows was changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import asyncpg
import pytest

from tests.support.database_logins import connected
from tests.support.database_pool import DatabasePool


@pytest.fixture
def pool(databases: DatabasePool) -> Iterator[DatabasePool]:
    """A separate pool, whose databases no other test has used."""
    with closing(DatabasePool(databases.server_url, databases.fresh)) as pool:
        yield pool


SETTING = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET lock_timeout = 5', current_database());
END $$
"""
INSERTED_PRICE = """
INSERT INTO pricing (model, task, quantity, credits, provider_credits, price_id)
VALUES ('other', 'text-to-image', 1, 1, 1, 1)
"""
ACCOUNT = "INSERT INTO accounts (id) VALUES ('left-behind')"


async def _url_after(pool: DatabasePool, *statements: str) -> str:
    """Run statements in a lent database, and return its URL."""
    async with pool.lend() as url, connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)
    return url


async def test_a_database_with_other_rows_is_emptied_and_lent_again(
    pool: DatabasePool,
) -> None:
    first = await _url_after(pool, ACCOUNT)
    async with pool.lend() as url, connected(url) as connection:
        assert url == first
        for table in ("accounts", "jobs", "ledger_entries"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
        acts = await connection.fetch("SELECT DISTINCT act FROM audit_entries")
        assert [one["act"] for one in acts] == ["price_changed"]
        seeded = "SELECT count(*) FROM pricing_history WHERE reason = 'seeded'"
        assert await connection.fetchval("SELECT count(*) FROM pricing") == (
            await connection.fetchval(seeded)
        )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pricing SET credits = credits + 1",
        "DELETE FROM pricing WHERE model = 'gpt-image-2' AND task LIKE 'text%' AND variant = '4K'",
        "UPDATE pricing SET model = 'other-' || model",
        "DELETE FROM audit_entries",
        "TRUNCATE pricing",
        INSERTED_PRICE,
    ],
)
async def test_the_rows_of_the_migrations_are_put_back(pool: DatabasePool, change: str) -> None:
    tables = [copy.name for copy in pool.fresh.copies]
    assert {"public.pricing", "public.pricing_history", "public.audit_entries"} <= {*tables}

    async def rows(url: str) -> list[list[str]]:
        async with connected(url) as connection:
            texts = [await connection.fetch(f"SELECT t::text FROM {name} t") for name in tables]
        return [sorted(text for (text,) in one) for one in texts]

    async with pool.lend() as url:
        before = await rows(url)
    first = await _url_after(pool, "SET session_replication_role = replica", change)
    async with pool.lend() as url:
        assert url == first
        assert await rows(url) == before


async def test_sequences_start_again(pool: DatabasePool) -> None:
    await _url_after(pool, "SELECT nextval('ledger_entries_id_seq')")
    async with pool.lend() as url, connected(url) as connection:
        assert await connection.fetchval("SELECT nextval('ledger_entries_id_seq')") == 1


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE other (id int)",
        "ALTER TABLE accounts ADD COLUMN other int",
        "ALTER TABLE accounts ALTER COLUMN balance SET DEFAULT 5",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "GRANT UPDATE ON accounts TO darkroom_readonly",
        "GRANT EXECUTE ON FUNCTION grant_credits TO PUBLIC",
        "CREATE INDEX other ON accounts (balance)",
        "ALTER VIEW jobs_masked OWNER TO darkroom_readonly",
        "CREATE SCHEMA other",
        SETTING,
    ],
)
async def test_a_database_in_which_more_than_rows_was_changed_is_dropped(
    pool: DatabasePool, change: str
) -> None:
    url = await _url_after(pool, change)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


async def test_a_session_that_a_test_leaves_open_is_ended(pool: DatabasePool) -> None:
    async with pool.lend() as url:
        left = await asyncpg.connect(url)
        await left.execute(f"BEGIN; {ACCOUNT}")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await left.execute("SELECT 1")
    async with pool.lend() as again, connected(again) as connection:
        assert again == url
        assert await connection.fetchval("SELECT count(*) FROM accounts") == 0
    await left.close(timeout=1)
