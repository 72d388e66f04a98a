"""Applies the SQL files that may change between versions: roles, functions and rights.

A numbered migration is applied once and never changes. `darkroom migrate` applies these files again
when their text has changed. Each replaces its earlier definitions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.adapters.postgres.database import Connection, translated_postgres_errors
from shared.adapters.postgres.named_queries import get_query, sql_folder
from shared.adapters.postgres.schema_choice import sql_in_schema
from shared.errors import DatabaseRefused, MigrationFailed, PostgresDown, SchemaOutdated

_ROLES = "roles"
_RIGHTS = "rights"
"""Applied after every change: every role may execute a new function until then."""

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS darkroom_definitions (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    roles      text[]      NOT NULL,
    rights     text[]      NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE darkroom_definitions IS
    'Which text this database has of roles.sql, functions and rights.sql in the folder sql.';
COMMENT ON COLUMN darkroom_definitions.name IS 'The file, without its ending.';
COMMENT ON COLUMN darkroom_definitions.checksum IS 'SHA-256 of the file as it was applied.';
COMMENT ON COLUMN darkroom_definitions.roles IS
    'The roles of Darkroom that the server had then. One that is made later has no rights yet.';
COMMENT ON COLUMN darkroom_definitions.rights IS 'The rights of those roles then.';
COMMENT ON COLUMN darkroom_definitions.applied_at IS 'When it was applied.';
"""
_LIST_ROLES = (
    "SELECT coalesce(array_agg(rolname::text ORDER BY rolname), '{}') FROM pg_roles"
    " WHERE rolname LIKE 'darkroom\\_%'"
)
_RIGHTS_APPLIED = """
SELECT roles, rights,
       EXISTS (SELECT FROM darkroom_migrations AS one
                WHERE one.applied_at > darkroom_definitions.applied_at) AS is_older
  FROM darkroom_definitions WHERE name = $1
"""
"""`is_older`: a table may have come since, without its rights."""


@dataclass(frozen=True, slots=True)
class SqlDefinition:
    """One file of `sql/functions`, `sql/roles.sql` or `sql/rights.sql`."""

    name: str
    checksum: str
    sql: str
    applied_at: datetime | None = None
    """When this text was applied. None if the database has another text or none."""


def read_definitions(folder: Path | None = None) -> list[SqlDefinition]:
    """Return the definitions of a folder `sql` in the order of their application."""
    root = folder or sql_folder()
    functions = sorted((root / "functions").glob("*.sql"))
    files = [root / f"{_ROLES}.sql", *functions, root / f"{_RIGHTS}.sql"]
    return [
        SqlDefinition(
            file.relative_to(root).with_suffix("").as_posix(),
            hashlib.sha256(text.encode()).hexdigest(),
            text,
        )
        for file in files
        for text in [file.read_text(encoding="utf-8")]
    ]


async def compare_definitions(
    connection: Connection, folder: Path | None = None
) -> list[SqlDefinition]:
    """Return all definitions with the times at which their text was applied. Changes nothing."""
    exists = await connection.fetchval("SELECT to_regclass('darkroom_definitions') IS NOT NULL")
    rows = (
        await connection.fetch("SELECT name, checksum, applied_at FROM darkroom_definitions")
        if exists
        else []
    )
    applied = {(row["name"], row["checksum"]): row["applied_at"] for row in rows}
    return [
        SqlDefinition(one.name, one.checksum, one.sql, applied.get((one.name, one.checksum)))
        for one in read_definitions(folder)
    ]


async def pending_definitions(
    connection: Connection, folder: Path | None = None
) -> list[SqlDefinition]:
    """Return the definitions that `apply_definitions` would apply. Changes nothing."""
    known = await compare_definitions(connection, folder)
    chosen = {one.name for one in known if not one.applied_at}
    had = await connection.fetchrow(_RIGHTS_APPLIED, _RIGHTS) if len(chosen) < len(known) else None
    if had is None or (had["roles"], had["rights"]) != await _roles_and_rights(connection):
        chosen.add(_ROLES)
    if chosen or had is None or had["is_older"]:
        chosen.add(_RIGHTS)
    return [one for one in known if one.name in chosen]


async def apply_definitions(
    connection: Connection, folder: Path | None, schema: str
) -> list[SqlDefinition]:
    """Apply the changed definitions and return them. The caller holds the lock, in a transaction.

    Raises `MigrationFailed`. Then nothing was applied.
    """
    await connection.execute(_CREATE_TABLE)
    changed = await pending_definitions(connection, folder)
    for one in changed:
        await _apply(connection, one, schema)
    return changed


def require_same_definitions(definitions: list[SqlDefinition]) -> None:
    """Raise `SchemaOutdated` if a definition in the database differs from this version's."""
    other = [one.name for one in definitions if not one.applied_at]
    if other:
        raise SchemaOutdated(
            f"the database has other functions than this version of Darkroom: {', '.join(other)};"
            " run `darkroom migrate` of the newest version in use"
        )


async def _roles_and_rights(connection: Connection) -> tuple[list[str], list[str]]:
    return (
        await connection.fetchval(_LIST_ROLES),
        await connection.fetchval(get_query("list_rights")),
    )


async def _apply(connection: Connection, definition: SqlDefinition, schema: str) -> None:
    try:
        with translated_postgres_errors():
            await connection.execute(sql_in_schema(definition.sql, schema))
            await connection.execute(
                "INSERT INTO darkroom_definitions (name, checksum, roles, rights, applied_at)"
                " VALUES ($1, $2, $3, $4, clock_timestamp()) ON CONFLICT (name) DO UPDATE"
                " SET checksum = excluded.checksum, roles = excluded.roles,"
                " rights = excluded.rights, applied_at = excluded.applied_at",
                definition.name,
                definition.checksum,
                *await _roles_and_rights(connection),
            )
    except (DatabaseRefused, PostgresDown) as error:
        if error.sqlstate is None:
            raise
        raise MigrationFailed(
            f"sql/{definition.name}.sql was refused and rolled back: {error}"
        ) from error
