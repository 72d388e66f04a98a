"""Applies the numbered migrations of the folder `sql`, one transaction per file.

Afterwards `shared.adapters.postgres.sql_definitions` applies functions, roles and rights.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.adapters.postgres.database import (
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    translated_postgres_errors,
)
from shared.adapters.postgres.named_queries import sql_folder
from shared.adapters.postgres.primary_host import connect_to_primary
from shared.adapters.postgres.sql_definitions import (
    SqlDefinition,
    apply_definitions,
    compare_definitions,
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
    on_definition: Callable[[SqlDefinition], object] = lambda _: None,
) -> list[Migration]:
    """Apply missing migrations and changed definitions. Returns the applied migrations.

    `folder` is a folder `sql`, by default that of this version. Concurrent calls run one after the
    other. Raises `MigrationFailed` (the failed file changed nothing) or `PostgresDown`.
    """
    try:
        return await _migrate(url, folder, on_definition)
    except PostgresDown as error:
        if error.sqlstate is None or error.sqlstate[:2] != _ACCESS_RULE_CLASS:
            raise
        raise MigrationFailed(f"the database cannot be migrated: {error}") from error


async def _migrate(
    url: str, folder: Path | None, on_definition: Callable[[SqlDefinition], object]
) -> list[Migration]:
    with translated_postgres_errors():
        connection = await connect_to_primary(url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            _require_server_version(connection)
            # A migration that waits for a lock blocks later queries on the table. It must fail.
            await connection.execute("SET lock_timeout = '60s'; SET statement_timeout = '15min'")
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
            await connection.execute(_CREATE_TABLE)
            missing = [one for one in await _compare(connection, folder) if not one.applied_at]
            for migration in missing:
                await _apply(connection, migration)
            for one in await apply_definitions(connection, folder, schema_changed=bool(missing)):
                on_definition(one)
            return missing
        finally:
            # Closing the connection releases the advisory lock.
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)


async def migration_status(url: str) -> list[Migration]:
    """Return all migrations with the times at which they were applied. Changes nothing."""
    with translated_postgres_errors():
        connection = await connect_to_primary(url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            return await _compare(connection, None)
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)


async def definition_status(url: str) -> list[SqlDefinition]:
    """Return all definitions with the times at which they were applied. Changes nothing."""
    with translated_postgres_errors():
        connection = await connect_to_primary(url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            return await compare_definitions(connection)
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)


async def require_current_schema(url: str) -> None:
    """Raise `SchemaOutdated` if a migration is missing or a definition differs."""
    with translated_postgres_errors():
        connection = await connect_to_primary(url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            _refuse_missing(await _compare(connection, None))
            require_same_definitions(await compare_definitions(connection))
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)


def _refuse_missing(migrations: list[Migration]) -> None:
    missing = [one for one in migrations if not one.applied_at]
    if missing:
        names = ", ".join(f"{one.number:04}_{one.name}" for one in missing)
        raise SchemaOutdated(
            f"the database lacks {len(missing)} migration(s): {names}; run `darkroom migrate`"
        )


def _require_server_version(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major * 10_000 < _OLDEST_SERVER:
        raise MigrationFailed(f"PostgreSQL {version.major} is too old: Darkroom needs 15 or newer")


async def _compare(connection: Connection, folder: Path | None) -> list[Migration]:
    migrations = read_migrations(folder)
    exists = await connection.fetchval("SELECT to_regclass('public.darkroom_migrations')")
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


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        with translated_postgres_errors():
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO darkroom_migrations (number, name, checksum) VALUES ($1, $2, $3)",
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
