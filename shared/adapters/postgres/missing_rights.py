"""Finds what a login lacks, and says it with the statements that an administrator types."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.named_queries import get_query
from shared.adapters.postgres.schema_choice import (
    choose_schema,
    connect_for_migrations,
    quote_schema,
    schema_transaction,
)
from shared.errors import ConfigurationError, MigrationFailed


async def require_rights(connection: Connection, schema: str) -> None:
    """Raise `MigrationFailed` with everything that the login lacks to migrate that schema."""
    async with schema_transaction(connection):
        rows = await connection.fetch(get_query("missing_rights"), schema)
        names = await connection.fetchrow("SELECT current_user, current_database()")
    if not rows or names is None:
        return
    login, database = names
    statements = "".join(f"\n  {row['statement']}  -- {row['lack']}" for row in rows)
    raise MigrationFailed(
        f"nothing was migrated: in database {database}, login {login} needs what follows. An"
        f" administrator types there:{statements}\nThen run `darkroom migrate` again"
    )


async def list_missing_roles(url: str, schema: str | None = None) -> list[str]:
    """Return the statements that make the roles of Darkroom complete. Empty if they are.

    Raises `PostgresDown` and `SettingsRefused`.
    """
    async with connect_for_migrations(url) as connection, schema_transaction(connection):
        chosen = await choose_schema(connection, schema)
        rows = await connection.fetch(get_query("missing_roles"), chosen.name)
    return [row["statement"] for row in rows]


@asynccontextmanager
async def read_schema(connection: Connection, wanted: str | None) -> AsyncIterator[None]:
    """Open a transaction that reads Darkroom's tables in the chosen schema.

    Raises `ConfigurationError` where the login may not, with what it needs.
    """
    async with schema_transaction(connection):
        chosen = await choose_schema(connection, wanted)
        login = await connection.fetchval("SELECT quote_ident(current_user)")
    refusal = ConfigurationError(
        f"login {login} may not read Darkroom's tables in schema {quote_schema(chosen.name)}: make"
        f" it a member of a role, such as GRANT darkroom_readonly TO {login}. If that role is"
        " missing or has no rights yet, `darkroom migrate` as the owner of the tables says what an"
        " administrator types, and sets the rights"
    )
    if chosen.is_hidden:
        raise refusal
    try:
        async with schema_transaction(connection, chosen.name):
            yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise refusal from error
