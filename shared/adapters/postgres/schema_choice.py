"""Chooses the schema of Darkroom's tables, and writes SQL files for a schema other than `public`.

The SQL files name the schema `public`. Their text is changed when it is applied, so that their
checksums are the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.adapters.postgres.connections.session_settings import SessionSettings
from shared.adapters.postgres.database import (
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    translated_postgres_errors,
)
from shared.adapters.postgres.primary_host import connect_to_primary
from shared.errors import PostgresDown, SettingsRefused
from shared.postgres_url import find_schema_fault, with_search_path

DEFAULT_SCHEMA = "public"
LOCK_WAIT_SECONDS = 60
"""A migration that waits for a lock blocks later queries on the table. It must fail."""
_SETTINGS = SessionSettings(LOCK_WAIT_SECONDS, statement_timeout_seconds=900)
_PUBLIC = re.compile(
    r"\bpublic(?=\.[a-z_]|, pg_temp\b|'::regnamespace\b)"
    r"|(?<=\bSCHEMA )public\b|(?<=\bschema )public\b"
)
_FIND = """
SELECT current_schema()::text AS first,
       (SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE pg_class.oid = to_regclass('darkroom_migrations')) AS visible,
       ARRAY(SELECT nspname::text
               FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
              WHERE relname = 'darkroom_migrations' AND relkind = 'r'
              ORDER BY nspname) AS installed,
       current_setting('search_path') AS path,
       -- Names of search_path that exist, but that this login may not use.
       ARRAY(SELECT nspname::text FROM pg_namespace
              WHERE NOT has_schema_privilege(oid, 'USAGE')
                AND nspname IN (SELECT btrim(btrim(part), '"')
                                  FROM unnest(string_to_array(current_setting('search_path'), ','))
                                       AS part)
              ORDER BY nspname) AS hidden
"""
_IS_FIRST = """
SELECT coalesce(current_schema() = $1, false) AS is_first,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS exists,
       quote_ident(current_user) AS login, quote_ident(current_database()) AS database
"""
_PROTOCOL_VIOLATION = "08P01"


@dataclass(frozen=True, slots=True)
class SchemaChoice:
    """The schema to use, whether it has Darkroom's tables, and whether the login may not look."""

    name: str
    is_installed: bool
    is_hidden: bool = False


def sql_in_schema(sql: str, schema: str) -> str:
    """Return the text of an SQL file with `schema` in place of `public`."""
    if schema == DEFAULT_SCHEMA:
        return sql
    name = quote_schema(schema)
    return _PUBLIC.sub(lambda _: name, sql)


def quote_schema(schema: str) -> str:
    """Return the name as a quoted identifier."""
    return '"' + schema.replace('"', '""') + '"'


async def choose_schema(connection: Connection, wanted: str | None = None) -> SchemaChoice:
    """Return the schema named by `DATABASE_SCHEMA`, else by the search path of the connection.

    Raises `SettingsRefused` if the search path leads to no schema, or past that of Darkroom's
    tables, or to one whose name Darkroom does not take.
    """
    chosen = await _choose(connection, wanted)
    fault = find_schema_fault(chosen.name)
    if fault is not None:
        raise SettingsRefused(f"schema {quote_schema(chosen.name)} cannot be used: {fault}")
    return chosen


async def _choose(connection: Connection, wanted: str | None) -> SchemaChoice:
    row = await connection.fetchrow(_FIND)
    if row is None:
        raise AssertionError("a query without FROM returns a row")
    if wanted is not None:
        return SchemaChoice(wanted, wanted in row["installed"])
    if row["visible"] is not None:
        return SchemaChoice(row["visible"], True)
    if row["first"] is None and row["hidden"]:
        hidden: str = row["hidden"][0]
        return SchemaChoice(hidden, hidden in row["installed"], is_hidden=True)
    if row["first"] is None:
        raise SettingsRefused(
            f"search_path ({row['path']}) names no schema that exists and that this login may use:"
            " set DATABASE_SCHEMA, or change search_path by ALTER ROLE … SET search_path"
        )
    if row["installed"]:
        others = " and ".join(quote_schema(one) for one in row["installed"])
        raise SettingsRefused(
            f"Darkroom's tables are in schema {others} of this database, and search_path"
            f" ({row['path']}) leads to schema {quote_schema(row['first'])}: set"
            f" DATABASE_SCHEMA={row['installed'][0]} to go on with them, or"
            f" DATABASE_SCHEMA={row['first']} for a second Darkroom beside them"
        )
    return SchemaChoice(row["first"], False)


async def create_schema(connection: Connection, schema: str) -> None:
    """Create the schema unless it exists. IF NOT EXISTS would need the right in any case."""
    if not await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", schema):
        await connection.execute(f"CREATE SCHEMA {quote_schema(schema)}")


async def require_search_path(url: str, schema: str) -> str:
    """Return a URL whose sessions find Darkroom's tables in that schema.

    It is the given one if search_path of the login leads there anyway. Otherwise it has search_path
    among its `options`. Raises `SettingsRefused` where a pooler refuses or ignores these, and
    `PostgresDown`.
    """
    async with connect_for_migrations(url) as connection, schema_transaction(connection):
        row = await connection.fetchrow(_IS_FIRST, schema)
        if row is None or row["is_first"]:
            return url
    changed = with_search_path(url, quote_schema(schema))
    try:
        async with connect_for_migrations(changed) as connection, schema_transaction(connection):
            kept = await connection.fetchrow(_IS_FIRST, schema)
            is_kept = kept is not None and (kept["is_first"] or not kept["exists"])
    except PostgresDown as error:
        if error.sqlstate != _PROTOCOL_VIOLATION:
            raise
        is_kept = False
    if is_kept:
        return changed
    raise SettingsRefused(
        f"DATABASE_SCHEMA: the pooler of DATABASE_URL takes no search_path from a client. Set it"
        f" for the login instead: ALTER ROLE {row['login']} IN DATABASE {row['database']}"
        f" SET search_path = {quote_schema(schema)}; and let the pooler open new connections"
        f" (RECONNECT)"
    )


@asynccontextmanager
async def connect_for_migrations(url: str) -> AsyncIterator[Connection]:
    """Open a connection that may pass a pooler: it uses no named prepared statements."""
    with translated_postgres_errors():
        connection = await connect_to_primary(
            url, timeout=CONNECT_TIMEOUT_SECONDS, statement_cache_size=0
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)


@asynccontextmanager
async def schema_transaction(
    connection: Connection, schema: str | None = None
) -> AsyncIterator[None]:
    """Open a transaction with all settings that SQL files depend on, for this transaction only.

    With `schema`, names without a schema are found and created there alone.
    """
    async with connection.transaction(isolation="read_committed"):
        await _SETTINGS.set_for_transaction(connection)
        if schema is not None:
            path = f"{quote_schema(schema)}, pg_temp"
            await connection.execute(f"SET LOCAL search_path = {path}")
        yield
