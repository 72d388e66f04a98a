"""The way to Postgres: a pool that runs named queries, and driver errors turned into ours."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from shared.adapters.queries import named
from shared.errors import DarkroomError, DatabaseRefused, PostgresDown

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

COMMAND_TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 5.0

# The server said that it cannot serve now: starting, stopping, killed, or out of connections.
_DOWN_SQLSTATES = ("08", "57P", "53300")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors into `PostgresDown` or `DatabaseRefused`, with the cause kept."""
    try:
        yield
    except DarkroomError:
        raise
    except asyncpg.PostgresError as error:
        sqlstate = error.sqlstate or ""
        if sqlstate.startswith(_DOWN_SQLSTATES):
            raise PostgresDown(f"Postgres cannot serve now: {error}") from error
        raise DatabaseRefused(
            str(error.args[0]) if error.args else type(error).__name__,
            sqlstate=sqlstate,
            constraint=getattr(error, "constraint_name", None),
            hint=getattr(error, "hint", None),
            detail=getattr(error, "detail", None),
        ) from error
    except (
        asyncpg.InterfaceError,
        # "Another operation is in progress": the connection of a server that has just died.
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
        ssl.SSLError,
    ) as error:
        raise PostgresDown(f"Postgres does not answer: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


class Queries(Protocol):
    """What runs named queries: the pool, or one connection inside a transaction."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name and return its rows."""
        ...

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name and return its first row, if any."""
        ...


class ConnectionQueries:
    """Runs named queries on one given connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name and return its rows."""
        with translated_errors():
            return await self.connection.fetch(named(query), *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name and return its first row, if any."""
        with translated_errors():
            return await self.connection.fetchrow(named(query), *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ConnectionQueries]:
        """Open a transaction, or a savepoint where one is open already."""
        with translated_errors():
            async with self.connection.transaction():
                yield self


class Database:
    """A pool of connections; create it with `connect_database`, which closes it again."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name on any connection and return its rows."""
        with translated_errors():
            return await self.pool.fetch(named(query), *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name on any connection and return its first row, if any."""
        with translated_errors():
            return await self.pool.fetchrow(named(query), *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ConnectionQueries]:
        """Open a transaction on one connection: committed at the end, rolled back on error."""
        with translated_errors():
            async with (
                self.pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection,
                connection.transaction(),
            ):
                yield ConnectionQueries(connection)

    async def ping(self) -> None:
        """Raise `PostgresDown` unless the server answers."""
        with translated_errors():
            await self.pool.fetchval("SELECT 1", timeout=CONNECT_TIMEOUT_SECONDS)


async def prepare_connection(connection: Connection) -> None:
    """Make a connection of our own pool read and write jsonb as objects."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=orjson.loads,
    )


async def leave_as_it_is(_: Connection) -> None:
    """Skip the statement with which the driver resets a session at every return to the pool.

    It would be a second round trip for every statement. Nothing of ours outlives its
    transaction: no session settings, cursors, locks or listeners; an open transaction is rolled
    back by the driver all the same.
    """


@asynccontextmanager
async def connect_database(
    url: str,
    *,
    connections: int = 10,
    name: str = "darkroom",
    command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
) -> AsyncIterator[Database]:
    """Open a pool of at most `connections`, or raise `PostgresDown`; close it at the end."""
    with translated_errors():
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections,
            init=prepare_connection,
            reset=leave_as_it_is,
            command_timeout=command_timeout_seconds,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings={"application_name": name},
        )
    try:
        yield Database(pool)
    finally:
        # Terminate rather than wait: whoever still holds a connection here is being cancelled.
        pool.terminate()


def as_dicts(rows: Iterable[asyncpg.Record]) -> list[dict[str, Any]]:
    """Return rows as plain dictionaries: a driver's record never leaves an adapter."""
    return [dict(row) for row in rows]
