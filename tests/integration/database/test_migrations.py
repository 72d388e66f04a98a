"""Migrations are applied once, in order, one at a time, and completely or not at all."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.migrations import (
    migrate,
    migration_status,
    read_migrations,
    require_current_schema,
)
from shared.adapters.postgres.named_queries import get_query, sql_folder
from shared.errors import MigrationFailed, PostgresDown, SchemaOutdated
from tests.integration.database.plain_logins import sql_before
from tests.support.database_logins import connected, with_user
from tests.support.database_pool import DatabasePool
from tests.support.deployment import eventually

NAMES = [one.name for one in read_migrations()]
ROLES = ("api", "worker", "pricing", "billing", "readonly", "service", "admin")
LATE_TASKS = 1 + NAMES.index("late_tasks")
ONE_RETRY = 1 + NAMES.index("one_retry")
LOCK_KEY = 0x6461726B726F6F6D
VARIANTS = 1 + NAMES.index("price_variants")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder `sql` that the test may damage."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "sql"))


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    """Another connection to the same database."""
    async with connected(empty_database_url) as connection:
        yield connection


def add(folder: Path, what: str, sql: str) -> str:
    """Write the next migration and return its name."""
    name = f"{len(NAMES) + 1:04}_{what}"
    (folder / f"migrations/{name}.sql").write_text(sql, encoding="utf-8")
    return name


def rename_roles(folder: Path) -> str:
    """Use roles in the migrations that this server does not have. Return their prefix."""
    prefix = f"darkroom_r{uuid4().hex[:8]}"
    for file in folder.rglob("*.sql"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(rf"\bdarkroom_({'|'.join(ROLES)})\b", rf"{prefix}_\1", text))
    return prefix


async def drop_roles(connection: Connection, prefix: str) -> None:
    for role in ROLES:
        await connection.execute(f"DROP OWNED BY {prefix}_{role}; DROP ROLE {prefix}_{role}")


async def test_an_empty_database_gets_every_migration_in_order(empty_database_url: str) -> None:
    applied = await migrate(empty_database_url)
    assert [one.name for one in applied] == NAMES
    assert [one.number for one in applied] == list(range(1, len(NAMES) + 1))
    await require_current_schema(empty_database_url)


async def test_migrating_again_changes_nothing(
    empty_database_url: str, connection: Connection
) -> None:
    await migrate(empty_database_url)
    before = await connection.fetch("SELECT * FROM darkroom_migrations")
    assert await migrate(empty_database_url) == []
    assert await connection.fetch("SELECT * FROM darkroom_migrations") == before


async def test_the_status_tells_what_is_missing_and_writes_nothing(
    empty_database_url: str, connection: Connection
) -> None:
    status = await migration_status(empty_database_url)
    assert [(one.name, one.applied_at) for one in status] == [(name, None) for name in NAMES]
    assert (
        await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname='public'") == 0
    )
    await migrate(empty_database_url)
    status = await migration_status(empty_database_url)
    assert [one.name for one in status] == NAMES
    assert all(one.applied_at and one.applied_at.tzinfo for one in status)


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    empty_database_url: str, folder: Path
) -> None:
    await migrate(empty_database_url, folder)
    changed = folder / "migrations/0002_seed_prices.sql"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n-- a thought\n", encoding="utf-8")
    sentence = "migration 0002_seed_prices was changed after it was applied; write a new one"
    with pytest.raises(MigrationFailed, match=sentence):
        await migrate(empty_database_url, folder)


@pytest.mark.parametrize("name", ["0002_seed_prices.sql", "0001_initial.sql"])
async def test_a_gap_between_the_numbers_is_refused_before_anything_is_applied(
    empty_database_url: str, folder: Path, name: str
) -> None:
    (folder / "migrations" / name).unlink()
    with pytest.raises(MigrationFailed, match=r"is not next in line: names are NNNN_what\.sql"):
        await migrate(empty_database_url, folder)
    assert not [one for one in await migration_status(empty_database_url) if one.applied_at]


def test_a_file_with_a_stray_name_is_refused(folder: Path) -> None:
    (folder / "migrations/later.sql").write_text("SELECT 1")
    with pytest.raises(MigrationFailed, match=r"later\.sql is not next in line"):
        read_migrations(folder)


async def test_a_failing_migration_leaves_nothing_and_keeps_those_before_it(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    name = add(folder, "breaks", "CREATE TABLE left_behind (id int); SELECT 1 / 0;")
    sentence = f"migration {name} was refused and rolled back: division by zero"
    with pytest.raises(MigrationFailed, match=sentence):
        await migrate(empty_database_url, folder)
    assert await connection.fetchval("SELECT to_regclass('left_behind')") is None
    numbers = await connection.fetch("SELECT number FROM darkroom_migrations ORDER BY number")
    assert [row["number"] for row in numbers] == list(range(1, len(NAMES) + 1))
    (folder / f"migrations/{name}.sql").write_text("CREATE TABLE left_behind (id int);")
    assert [one.name for one in await migrate(empty_database_url, folder)] == ["breaks"]


async def test_several_that_migrate_at_once_take_turns_and_apply_everything_once(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    # The last migration waits for a table that the test has locked, so that the others certainly
    # arrive while the first one is at work.
    # A lock of the session, which a pooler would keep, could be released here.
    add(
        folder,
        "waits",
        "LOCK TABLE gate; CREATE TABLE was_here (id int);"
        f" DO $$ BEGIN ASSERT NOT pg_advisory_unlock({LOCK_KEY}); END $$",
    )
    await connection.execute("CREATE TABLE gate (id int)")

    async def are_waiting() -> bool:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        )
        return bool(waiting == 3)

    async with asyncio.TaskGroup() as group, connection.transaction():
        await connection.execute("LOCK TABLE gate")
        tasks = [group.create_task(migrate(empty_database_url, folder)) for _ in range(4)]
        await eventually(are_waiting, "three wait while one migrates")
    applied = [one.number for task in tasks for one in task.result()]
    assert sorted(applied) == list(range(1, len(NAMES) + 2))
    await require_free_lock(connection)


async def require_free_lock(connection: Connection) -> None:
    """Fail if a session holds the lock of migrations, as one kept by a pooler would."""
    assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY)
    await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def test_five_that_find_a_current_schema_wait_for_nobody(
    empty_database_url: str, connection: Connection
) -> None:
    await migrate(empty_database_url)
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        tasks = [group.create_task(migrate(empty_database_url)) for _ in range(5)]
    assert [task.result() for task in tasks] == [[]] * 5


async def test_a_lock_that_is_never_released_is_named_with_its_session(
    empty_database_url: str, connection: Connection
) -> None:
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    pid = connection.get_server_pid()
    with pytest.raises(
        MigrationFailed, match=rf"held the lock of migrations for 0\.1 s \(pid {pid}\)"
    ):
        await migrate(empty_database_url, lock_wait_seconds=0.1)
    assert await connection.fetchval("SELECT to_regclass('darkroom_migrations')") is None


async def test_one_that_dies_within_a_file_leaves_nothing_of_it_and_the_next_one_goes_on(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    add(folder, "waits", "CREATE TABLE half (id int); LOCK TABLE gate;")
    await connection.execute("CREATE TABLE gate (id int)")
    killed = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'gate'::regclass"
        " AND NOT granted"
    )

    async def has_been_killed() -> bool:
        return bool(await connection.fetch(killed))

    async with connection.transaction():
        await connection.execute("LOCK TABLE gate")
        task = asyncio.create_task(migrate(empty_database_url, folder))
        await eventually(has_been_killed, "the migration waits and is killed")
        with pytest.raises(PostgresDown):
            await task
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    await require_free_lock(connection)
    assert [one.name for one in await migrate(empty_database_url, folder)] == ["waits"]


async def test_rights_that_a_dead_one_left_out_are_set_by_the_next_one(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    await migrate(empty_database_url, folder)
    await asyncio.to_thread(add, folder, "more", "CREATE TABLE more (id int)")
    rights = folder / "rights.sql"
    good = rights.read_text(encoding="utf-8")
    rights.write_text("SELECT 1 / 0", encoding="utf-8")
    with pytest.raises(MigrationFailed, match=r"sql/rights\.sql was refused and rolled back"):
        await migrate(empty_database_url, folder)
    rights.write_text(good, encoding="utf-8")
    set_again: list[str] = []
    assert not await migrate(
        empty_database_url, folder, on_definition=lambda one: set_again.append(one.name)
    )
    assert set_again == ["rights"]
    assert await migrate(empty_database_url, folder) == []


async def test_two_databases_of_one_server_may_be_migrated_at_once(
    empty_database_url: str, databases: DatabasePool, folder: Path, connection: Connection
) -> None:
    # Roles belong to the whole server: another database may create one between check and creation.
    prefix = rename_roles(folder)

    async def is_waiting() -> bool:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(waiting)

    async with connected(databases.server_url) as other:
        async with asyncio.TaskGroup() as group, other.transaction():
            await other.execute(f"CREATE ROLE {prefix}_service NOLOGIN")
            task = group.create_task(migrate(empty_database_url, folder))

            await eventually(is_waiting, "the migration waits for the other role")
        assert [one.name for one in task.result()] == NAMES
    await drop_roles(connection, prefix)


async def test_where_roles_cannot_be_created_the_schema_comes_up_and_stays_closed(
    empty_database_url: str, folder: Path, connection: Connection
) -> None:
    prefix = rename_roles(folder)
    owner, stranger = f"{prefix}_owner", f"{prefix}_stranger"
    database = urlsplit(empty_database_url).path.removeprefix("/")
    await connection.execute(f"CREATE ROLE {owner} LOGIN; CREATE ROLE {stranger} LOGIN")
    await connection.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
    try:
        applied = await migrate(with_user(empty_database_url, owner), folder)
        assert [one.name for one in applied] == NAMES
        assert not await connection.fetchval(
            "SELECT count(*) FROM pg_roles WHERE rolname = $1", f"{prefix}_service"
        )
        async with connected(with_user(empty_database_url, stranger)) as other:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="grant_credits"):
                await other.execute("SELECT grant_credits('acme', 1, 'a gift')")
    finally:
        await connection.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER")
        await connection.execute(f"DROP OWNED BY {owner}; DROP ROLE {owner}, {stranger}")


async def test_a_schema_newer_than_this_version_is_refused(
    empty_database_url: str, connection: Connection
) -> None:
    await migrate(empty_database_url)
    await connection.execute(
        "INSERT INTO darkroom_migrations (number, name, checksum) VALUES (9999, 'future', 'x')"
    )
    sentence = "the database has migration 9999, which this version of Darkroom does not know"
    for check in (migrate, migration_status, require_current_schema):
        with pytest.raises(SchemaOutdated, match=sentence):
            await check(empty_database_url)


async def test_a_schema_older_than_this_version_is_refused_with_the_command_to_type(
    empty_database_url: str, connection: Connection
) -> None:
    with pytest.raises(SchemaOutdated, match=rf"lacks {len(NAMES)} migration\(s\)"):
        await require_current_schema(empty_database_url)
    await migrate(empty_database_url)
    await connection.execute("DELETE FROM darkroom_migrations WHERE number = $1", len(NAMES))
    last = f"{len(NAMES):04}_{NAMES[-1]}"
    sentence = rf"lacks 1 migration\(s\): {last}; run `darkroom migrate`"
    with pytest.raises(SchemaOutdated, match=sentence):
        await require_current_schema(empty_database_url)


async def test_a_database_that_does_not_answer_is_down(tmp_path: Path) -> None:
    url = f"postgresql:///darkroom?host={tmp_path}"
    for check in (migrate, migration_status, require_current_schema):
        with pytest.raises(PostgresDown, match="Postgres does not answer"):
            await check(url)


async def test_late_images_kept_by_an_older_version_move_to_the_job_and_its_late_tasks(
    empty_database_url: str, tmp_path: Path, connection: Connection
) -> None:
    folder = sql_before(LATE_TASKS, tmp_path / "sql")
    await migrate(empty_database_url, folder)
    await connection.execute(
        """
        INSERT INTO accounts (id) VALUES ('acme');
        INSERT INTO jobs (id, account_id, model, task, quantity, request, state, reason, attempt,
                          credits_quoted, quoted_price_id, price_id, finished_at)
        SELECT gen_random_uuid(), 'acme', model, task, quantity, '{}', 'failed', 'submission_lost',
               1, credits, price_id, price_id, now()
          FROM pricing WHERE task = 'text-to-image' AND quantity = 2;
        INSERT INTO job_attempts (job_id, number, token, worker, outcome, provider_task_id,
                                  late_result_urls, late_at)
        SELECT id, 1, repeat('t', 24), 'old:1', 'lost', 'task-1', '{https://x.example/1.png}', now()
          FROM jobs;
        INSERT INTO job_events (job_id, event) SELECT id, 'late_success' FROM jobs;
        """
    )
    await migrate(empty_database_url)
    row = await connection.fetchrow(
        "SELECT jobs.late_result_urls, late.outcome, late.provider_credits, event.event"
        "  FROM jobs JOIN late_tasks AS late ON late.job_id = jobs.id"
        "  JOIN job_events AS event ON event.job_id = jobs.id"
    )
    assert tuple(row or ()) == (["https://x.example/1.png"], "delivered", 7, "delivered_late")
    assert await connection.fetchval("SELECT count(*) FROM webhook_messages") == 0


async def test_jobs_that_an_older_version_retried_twice_keep_their_retries(
    empty_database_url: str, tmp_path: Path, connection: Connection
) -> None:
    await migrate(empty_database_url, sql_before(ONE_RETRY, tmp_path / "sql"))
    await connection.execute(
        """
        INSERT INTO accounts (id) VALUES ('acme');
        INSERT INTO jobs (id, account_id, model, task, quantity, request, state, reason, attempt,
                          credits_quoted, quoted_price_id, price_id, finished_at, retry_of)
        SELECT made.id::uuid, 'acme', model, task, quantity, '{}', 'failed', 'rejected', 1, credits,
               price_id, price_id, now(), made.retry_of::uuid
          FROM pricing, (VALUES (repeat('0', 31) || '1', NULL),
                                (repeat('0', 31) || '3', repeat('0', 31) || '1'),
                                (repeat('0', 31) || '2', repeat('0', 31) || '1'),
                                (repeat('0', 31) || '4', repeat('0', 31) || '3'))
                       AS made (id, retry_of)
         WHERE task = 'text-to-image' AND quantity = 1;
        """
    )
    await migrate(empty_database_url)
    rows = await connection.fetch("SELECT right(id::text, 1) AS id, retry_number FROM jobs")
    assert {row["id"]: row["retry_number"] for row in rows} == {"1": 1, "2": 1, "3": 2, "4": 1}
    found = await connection.fetchrow(get_query("find_retry"), UUID(int=1))
    assert found is not None
    assert found["id"].int == 2


async def test_jobs_and_prices_of_before_variants_have_none_and_the_jobs_are_settled(
    empty_database_url: str, folder: Path, tmp_path: Path, connection: Connection
) -> None:
    await migrate(empty_database_url, sql_before(VARIANTS, tmp_path / "before"))
    await connection.execute(
        """
        SELECT grant_credits(id, 100, 'why') FROM darkroom_create_account('acme');
        UPDATE accounts SET held = 7;
        INSERT INTO jobs (id, account_id, model, task, quantity, request, state, attempt,
                          credits_quoted, quoted_price_id, price_id, provider_task_id,
                          submitted_at, deadline_at)
        SELECT gen_random_uuid(), 'acme', model, task, quantity, '{}', 'generating', 1, credits,
               price_id, price_id, 'task-1', now(), now()
          FROM pricing WHERE task = 'text-to-image' AND quantity = 2;
        """
    )
    prices = await connection.fetch(
        "SELECT model, task, quantity, credits, price_id FROM pricing ORDER BY price_id"
    )
    add(
        folder,
        "painter",
        "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
        " SELECT 'painter', 'paint', 1, variant, 5, 5 FROM unnest('{1K,2K}'::text[]) AS variant",
    )
    await migrate(empty_database_url, folder)
    kept = await connection.fetch(
        "SELECT model, task, quantity, credits, price_id FROM pricing"
        " WHERE price_id = ANY($1::bigint[]) AND variant = '' ORDER BY price_id",
        [row["price_id"] for row in prices],
    )
    assert kept == prices
    charged = await connection.fetchval(
        "SELECT credits_charged FROM darkroom_settle_jobs('0', ARRAY(SELECT id FROM jobs), '{1}',"
        " ARRAY['[\"https://x.example/1.png\"]'], '{1}', '{NULL}', '{generating}', 'succeeded',"
        " 'current', 'completed')"
    )
    assert charged == 6
    versions = await connection.fetch(
        "SELECT pricing_history.variant, audit_entries.subject FROM pricing_history"
        "  JOIN audit_entries ON (after ->> 'price_id')::bigint = pricing_history.id"
        " WHERE model = 'painter' AND upper_inf(valid) ORDER BY pricing_history.variant"
    )
    assert [tuple(row) for row in versions] == [
        ("1K", "pricing painter paint 1 1K"),
        ("2K", "pricing painter paint 1 2K"),
    ]
