"""A pool of Postgres connections that runs named queries and translates errors of the driver."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared.adapters.postgres import sqlstates
from shared.adapters.postgres.connections.kept_alive_connection import KeptAliveConnection
from shared.adapters.postgres.connections.pool_connections import PoolConnections
from shared.adapters.postgres.connections.session_settings import SessionSettings
from shared.adapters.postgres.failed_queries import FailedQueries
from shared.adapters.postgres.named_queries import get_query, may_wait_for_lock
from shared.adapters.postgres.session_setup import set_codecs, skip_session_reset
from shared.errors import DarkroomError, DatabaseRefused, PostgresDown, RowBusy

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

_Result = TypeVar("_Result")

COMMAND_TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 5.0
_MOST_IDLE_SECONDS = 60.0
"""The maximum idle time of a connection: below the timeout of common NATs."""

# The driver's errors for a broken connection.
_CONNECTION_LOST = (asyncpg.ConnectionDoesNotExistError, asyncpg.ConnectionFailureError)

_TRIES = 4
"""How often a statement runs if the server rolls it back and asks for a retry."""
_FIRST_PAUSE_SECONDS = 0.02
_RENEWAL_SECONDS = 1.0
"""The minimum time between two discards of all connections of a pool."""


@contextmanager
def translated_postgres_errors() -> Iterator[None]:
    """Translate errors of the driver to `PostgresDown`, `RowBusy` or `DatabaseRefused`."""
    try:
        yield
    except DarkroomError:
        raise
    except asyncpg.PostgresError as error:
        raise _translated(error) from error
    except (
        asyncpg.InterfaceError,
        # "Another operation is in progress", after the server has just died.
        asyncpg.InternalClientError,
        # The bytes are not Postgres's protocol.
        BufferError,
        OSError,
        TimeoutError,
        ssl.SSLError,
    ) as error:
        raise PostgresDown(f"Postgres does not answer: {_text(error)}") from error


def _translated(error: asyncpg.PostgresError) -> DarkroomError:
    sqlstate = error.sqlstate or ""
    words = str(error.args[0]) if error.args else type(error).__name__
    constraint = getattr(error, "constraint_name", None)
    column = getattr(error, "column_name", None)
    if sqlstates.is_refusal(sqlstate, constraint=constraint, column=column):
        return DatabaseRefused(
            words,
            sqlstate=sqlstate,
            constraint=constraint,
            hint=getattr(error, "hint", None),
            detail=getattr(error, "detail", None),
        )
    if sqlstate == sqlstates.LOCK_NOT_AVAILABLE:
        return RowBusy("a row or table that this needs", sqlstate=sqlstate)
    if isinstance(error, _CONNECTION_LOST) or not sqlstate:
        return PostgresDown(f"Postgres does not answer: {words}")
    return PostgresDown(
        f"Postgres cannot do this now: {words} (SQLSTATE {sqlstate})", sqlstate=sqlstate
    )


def _text(error: BaseException) -> str:
    """Return what the error says. Those of a timeout and of a closed connection are empty."""
    if isinstance(error, TimeoutError):
        return str(error) or "no reply in time"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return str(error) or "the server closed the connection"
    return str(error) or type(error).__name__


class Queries(Protocol):
    """Runs named queries: the pool, or one connection inside a transaction."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name and return its rows."""
        ...

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name and return its first row, if any."""
        ...


class ConnectionQueries:
    """Runs named queries on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name and return its rows."""
        with translated_postgres_errors():
            return await self.connection.fetch(get_query(query), *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name and return its first row, if any."""
        with translated_postgres_errors():
            return await self.connection.fetchrow(get_query(query), *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ConnectionQueries]:
        """Open a transaction, or a savepoint inside an open transaction."""
        with translated_postgres_errors():
            async with self.connection.transaction():
                yield self


class Database:
    """A pool of connections. Create it with `connect_database`, which also closes it.

    A connection is discarded after an error that says that its server cannot serve.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        connections: PoolConnections | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool = pool
        self._connections = connections
        self._sleep = sleep
        self._random = random or SystemRandom()
        self._monotonic = monotonic
        self._renewed_at = float("-inf")
        self._failed_queries = FailedQueries(monotonic)

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name on a free connection and return its rows."""

        async def fetch(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(get_query(query), *args)

        return await self._run(query, fetch)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name on a free connection and return its first row, or None."""

        async def fetch_row(connection: Connection) -> asyncpg.Record | None:
            return await connection.fetchrow(get_query(query), *args)

        return await self._run(query, fetch_row)

    async def _run(
        self, query: str, statement: Callable[[Connection], Awaitable[_Result]]
    ) -> _Result:
        """Run one statement. Retry it if the server has certainly rolled it back."""
        tries = 1
        while True:
            try:
                with translated_postgres_errors():
                    async with self.pool.acquire() as connection:
                        try:
                            result = await self._run_on(connection, query, statement)
                        except asyncpg.PostgresError as error:
                            await self._discard_broken(connection, error.sqlstate)
                            raise
                self._failed_queries.record_success(query)
                return result
            except PostgresDown as error:
                if await self._stop_caching(error.sqlstate) and tries < _TRIES:
                    tries += 1
                    continue
                self._failed_queries.record_failure(query, error)
                if error.sqlstate not in sqlstates.ROLLED_BACK or tries == _TRIES:
                    raise
            await self._sleep(_FIRST_PAUSE_SECONDS * 2**tries * self._random.random())
            tries += 1

    async def _run_on(
        self,
        connection: Connection,
        query: str,
        statement: Callable[[Connection], Awaitable[_Result]],
    ) -> _Result:
        connections = self._connections
        if connections is None or not (connections.is_pooled and may_wait_for_lock(query)):
            return await statement(connection)
        async with connections.settings.transaction(connection):
            return await statement(connection)

    async def _stop_caching(self, sqlstate: str | None) -> bool:
        """Return whether the statement was not run because its prepared one was lost."""
        if self._connections is None or not self._connections.stop_caching(sqlstate):
            return False
        await self.pool.expire_connections()
        return True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ConnectionQueries]:
        """Open a transaction on one connection. Commits at the end, or rolls back on an error."""
        with translated_postgres_errors():
            async with self.pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection:
                try:
                    # Independent of the default of server, database and role.
                    async with connection.transaction(isolation="read_committed"):
                        if self._connections is not None and self._connections.is_pooled:
                            await self._connections.settings.set_for_transaction(connection)
                        yield ConnectionQueries(connection)
                except (asyncpg.PostgresError, PostgresDown) as error:
                    await self._discard_broken(connection, error.sqlstate)
                    await self._stop_caching(error.sqlstate)
                    raise

    async def ping(self) -> None:
        """Raise `PostgresDown` if the server does not reply, or if a query has failed recently."""
        with translated_postgres_errors():
            await self.pool.fetchval("SELECT 1", timeout=CONNECT_TIMEOUT_SECONDS)
        refusal = self._failed_queries.newest()
        if refusal is not None:
            raise refusal

    async def _discard_broken(self, connection: Connection, sqlstate: str | None) -> None:
        if sqlstate is None or not sqlstates.breaks_connection(sqlstate):
            return
        connection.terminate()
        now = self._monotonic()
        if sqlstates.breaks_all_connections(sqlstate) and (
            now - self._renewed_at >= _RENEWAL_SECONDS
        ):
            # A demoted server still serves reads, with old data.
            self._renewed_at = now
            await self.pool.expire_connections()


@asynccontextmanager
async def connect_database(
    url: str,
    *,
    connections: int = 10,
    name: str = "darkroom",
    command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    lock_timeout_seconds: float | None = None,
    clamps_timestamps: bool = False,
) -> AsyncIterator[Database]:
    """Open a pool of at most `connections`, and close it at the end. Raises `PostgresDown`.

    A statement that waits longer than `lock_timeout_seconds` for a lock raises `RowBusy`. With
    `clamps_timestamps`, timestamps outside Python's range are read as the first or last one in
    range, for output. Without it, reading such a row raises an error, for decisions.
    """
    with translated_postgres_errors():
        opening = PoolConnections(url, SessionSettings(lock_timeout_seconds))
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections,
            connect=cast("Any", opening.connect),
            init=lambda one: set_codecs(one, clamps_timestamps=clamps_timestamps),
            reset=skip_session_reset,
            command_timeout=command_timeout_seconds,
            timeout=CONNECT_TIMEOUT_SECONDS,
            max_inactive_connection_lifetime=_MOST_IDLE_SECONDS,
            connection_class=KeptAliveConnection,
            server_settings={"application_name": name},
        )
    try:
        yield Database(pool, opening)
    finally:
        # Do not wait: tasks that still hold a connection are being cancelled.
        pool.terminate()
