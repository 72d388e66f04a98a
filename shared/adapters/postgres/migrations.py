"""Applies the numbered migrations of the folder `sql`, one transaction per file.

Afterwards `shared.adapters.postgres.sql_definitions` applies functions, roles and rights. Nothing
is kept in a session, so that a transaction pooler may be between.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg

from shared.adapters.postgres.database import Connection, translated_postgres_errors
from shared.adapters.postgres.missing_rights import read_schema, require_rights
from shared.adapters.postgres.named_queries import get_query, sql_folder
from shared.adapters.postgres.schema_choice import (
    LOCK_WAIT_SECONDS,
    choose_schema,
    connect_for_migrations,
    create_schema,
    schema_transaction,
    sql_in_schema,
)
from shared.adapters.postgres.sql_definitions import (
    SqlDefinition,
    apply_definitions,
    compare_definitions,
    pending_definitions,
    require_same_definitions,
)
from shared.errors import DatabaseRefused, MigrationFailed, PostgresDown, SchemaOutdated

_FILE_NAME = re.compile(r"^([0-9]{4})_([a-z0-9_]+)\.sql$")
# The lock key is arbitrary, but the same in every version of Darkroom.
_ACCESS_RULE_CLASS = "42"
_LOCK_KEY = 0x6461726B726F6F6D
_OLDEST_SERVER = 150_000

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS darkroom_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE darkroom_migrations IS 'Which files of sql/migrations this database has had.';
COMMENT ON COLUMN darkroom_migrations.number IS 'The number its file name begins with.';
COMMENT ON COLUMN darkroom_migrations.name IS 'The rest of its file name.';
COMMENT ON COLUMN darkroom_migrations.checksum IS 'SHA-256 of the file, which never changes.';
COMMENT ON COLUMN darkroom_migrations.applied_at IS 'When it was applied.';
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `sql/migrations`. `applied_at` is None if it was not applied."""

    number: int
    name: str
    checksum: str
    sql: str
    applied_at: datetime | None = None


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Return the migrations of a folder `sql` in order.

    Raises `MigrationFailed` if a number is missing or a file name is invalid.
    """
    migrations: list[Migration] = []
    for file in sorted(((folder or sql_folder()) / "migrations").glob("*.sql")):
        match = _FILE_NAME.match(file.name)
        if match is None or int(match[1]) != len(migrations) + 1:
            raise MigrationFailed(
                f"{file.name} is not next in line: names are NNNN_what.sql, counted without gaps"
            )
        text = file.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        migrations.append(Migration(int(match[1]), match[2], checksum, text))
    return migrations


async def migrate(
    url: str,
    folder: Path | None = None,
    *,
    schema: str | None = None,
    lock_wait_seconds: float = LOCK_WAIT_SECONDS,
    on_definition: Callable[[SqlDefinition], object] = lambda _: None,
) -> list[Migration]:
    """Apply missing migrations and changed definitions. Returns the applied migrations.

    `folder` is a folder `sql`, by default that of this version. `schema` is `DATABASE_SCHEMA`.
    Concurrent calls take turns, file by file, and wait for at most `lock_wait_seconds`. A call that
    finds nothing to apply takes no lock. Raises `MigrationFailed` (the failed file changed
    nothing), `SchemaOutdated`, `SettingsRefused` or `PostgresDown`.
    """
    try:
        async with connect_for_migrations(url) as connection:
            _require_server_version(connection)
            async with schema_transaction(connection):
                chosen = await choose_schema(connection, schema)
            run = _Run(connection, folder, read_migrations(folder), chosen.name, lock_wait_seconds)
            if chosen.is_installed and await run.is_done():
                return []
            await require_rights(connection, chosen.name)
            applied = await run.apply_migrations()
            for definition in await run.apply_definitions():
                on_definition(definition)
            return applied
    except PostgresDown as error:
        if error.sqlstate is None or error.sqlstate[:2] != _ACCESS_RULE_CLASS:
            raise
        raise MigrationFailed(f"the database cannot be migrated: {error}") from error


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of `migrate`."""

    connection: Connection
    folder: Path | None
    migrations: list[Migration]
    schema: str
    lock_wait_seconds: float

    async def is_done(self) -> bool:
        """Return whether there is nothing to apply."""
        try:
            async with schema_transaction(self.connection, self.schema):
                return not _missing(
                    await _compare(self.connection, self.migrations)
                ) and not await pending_definitions(self.connection, self.folder)
        except asyncpg.InsufficientPrivilegeError:
            return False

    async def apply_migrations(self) -> list[Migration]:
        """Apply what is missing, and return what this call has applied."""
        applied: list[Migration] = []
        while True:
            async with self._lock():
                await create_schema(self.connection, self.schema)
                await self.connection.execute(_CREATE_TABLE)
                missing = _missing(await _compare(self.connection, self.migrations))
                if not missing:
                    return applied
                await _apply(self.connection, missing[0], self.schema)
            applied.append(missing[0])

    async def apply_definitions(self) -> list[SqlDefinition]:
        """Apply what has changed, in one transaction, and return it."""
        async with self._lock():
            return await apply_definitions(self.connection, self.folder, self.schema)

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """Open a transaction that holds the lock of migrations until its end.

        A lock of the session would stay with the server's connection behind a transaction pooler.
        """
        is_locked = False
        try:
            async with schema_transaction(self.connection, self.schema):
                await self.connection.execute(
                    f"SET LOCAL lock_timeout = {self.lock_wait_seconds * 1000:.0f}"
                )
                await self.connection.fetchval("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
                is_locked = True
                await self.connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'")
                yield
        except asyncpg.LockNotAvailableError as error:
            if is_locked:
                raise
            async with schema_transaction(self.connection):
                query = get_query("migration_lock_holders")
                holders = await self.connection.fetch(query, _LOCK_KEY)
            pids = ", ".join(str(row["pid"]) for row in holders) or "unknown"
            raise MigrationFailed(
                f"another session has held the lock of migrations for {self.lock_wait_seconds:g} s"
                f" (pid {pids}): run `darkroom migrate` again when that has ended. Behind a"
                " transaction pooler, older versions of Darkroom leave the lock behind; then"
                " SELECT pg_terminate_backend(pid) ends it"
            ) from error


async def migration_status(url: str, schema: str | None = None) -> list[Migration]:
    """Return all migrations with the times at which they were applied. Changes nothing."""
    async with connect_for_migrations(url) as connection, read_schema(connection, schema):
        return await _compare(connection, read_migrations())


async def definition_status(url: str, schema: str | None = None) -> list[SqlDefinition]:
    """Return all definitions with the times at which they were applied. Changes nothing."""
    async with connect_for_migrations(url) as connection, read_schema(connection, schema):
        return await compare_definitions(connection)


async def require_current_schema(url: str) -> None:
    """Raise `SchemaOutdated` if a migration is missing or a definition differs."""
    async with connect_for_migrations(url) as connection, read_schema(connection, None):
        _refuse_missing(await _compare(connection, read_migrations()))
        require_same_definitions(await compare_definitions(connection))


def _missing(migrations: list[Migration]) -> list[Migration]:
    return [one for one in migrations if not one.applied_at]


def _refuse_missing(migrations: list[Migration]) -> None:
    missing = _missing(migrations)
    if missing:
        names = ", ".join(f"{one.number:04}_{one.name}" for one in missing)
        raise SchemaOutdated(
            f"the database lacks {len(missing)} migration(s): {names}; run `darkroom migrate`"
        )


def _require_server_version(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major * 10_000 < _OLDEST_SERVER:
        raise MigrationFailed(f"PostgreSQL {version.major} is too old: Darkroom needs 15 or newer")


async def _compare(connection: Connection, migrations: list[Migration]) -> list[Migration]:
    exists = await connection.fetchval("SELECT to_regclass('darkroom_migrations') IS NOT NULL")
    rows = (
        await connection.fetch("SELECT number, name, checksum, applied_at FROM darkroom_migrations")
        if exists
        else []
    )
    applied = {row["number"]: row for row in rows}
    for migration in migrations:
        row = applied.get(migration.number)
        if row is not None and row["checksum"] != migration.checksum:
            raise MigrationFailed(
                f"migration {migration.number:04}_{migration.name} was changed after it was"
                " applied; write a new one instead"
            )
    unknown = sorted(set(applied) - {one.number for one in migrations})
    if unknown:
        raise SchemaOutdated(
            f"the database has migration {unknown[-1]:04}, which this version of Darkroom does not"
            " know: start a version at least as new as the schema"
        )
    return [
        Migration(
            one.number,
            one.name,
            one.checksum,
            one.sql,
            applied[one.number]["applied_at"] if one.number in applied else None,
        )
        for one in migrations
    ]


async def _apply(connection: Connection, migration: Migration, schema: str) -> None:
    try:
        with translated_postgres_errors():
            await connection.execute(sql_in_schema(migration.sql, schema))
            await connection.execute(
                # Not now(), which is the time before the wait for the lock.
                "INSERT INTO darkroom_migrations (number, name, checksum, applied_at)"
                " VALUES ($1, $2, $3, clock_timestamp())",
                migration.number,
                migration.name,
                migration.checksum,
            )
    except (DatabaseRefused, PostgresDown) as error:
        if error.sqlstate is None:
            raise
        raise MigrationFailed(
            f"migration {migration.number:04}_{migration.name} was refused and rolled back: {error}"
        ) from error
