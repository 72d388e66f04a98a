"""Lends each test a migrated database without data of other tests.

To copy the template costs about 100 ms of CPU, because a database is 350 files. If a test has
changed only rows, its database is emptied and lent again, with the rows that the migrations insert.
If it has changed anything else, such as a function, a right or a setting, its database is dropped.

A database is emptied by a session that stays open while the database is lent: a new one would read
the whole catalog each time. Each test has an event loop of its own, so these sessions have another,
in a thread. What a test has changed is told by the counters of Postgres; only if they differ are
the schema and the rows of the migrations compared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from uuid import uuid4

import asyncpg

from shared.adapters.postgres.migrations import migrate

_TEMPLATE = "darkroom_template"
_LOANS_MAX = 50
"""Deleted rows stay in their files: after so many loans a database has grown enough."""
_DISCONNECT = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_SCHEMA = """
WITH line (text) AS (
    SELECT (attrelid, attname, atttypid, attnotnull, attisdropped, attacl)::text
    FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT (oid, xmin)::text FROM pg_attrdef
    UNION ALL SELECT (oid, xmin)::text FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT (oid, xmin)::text FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT (tgrelid, tgname, tgfoid, tgenabled)::text FROM pg_trigger
    UNION ALL SELECT (oid, relname, relacl, relowner, reloptions, relrowsecurity)::text
    FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT (nspname, nspacl, nspowner)::text FROM pg_namespace WHERE nspname !~ '^pg_t'
    UNION ALL SELECT (setrole, setconfig)::text FROM pg_db_role_setting
    JOIN pg_database ON pg_database.oid = setdatabase AND datname = current_database()
    UNION ALL SELECT (datacl, datdba, datconnlimit)::text
    FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT (defaclrole, defaclobjtype, defaclacl)::text FROM pg_default_acl
    UNION ALL SELECT (evtname, evtenabled)::text FROM pg_event_trigger
    UNION ALL SELECT (extname, extversion)::text FROM pg_extension
    UNION ALL SELECT (oid, xmin)::text FROM pg_rewrite WHERE ev_class >= 16384
    UNION ALL SELECT (indexrelid, xmin)::text FROM pg_index WHERE indrelid >= 16384
    UNION ALL SELECT (polrelid, polname)::text FROM pg_policy
)
SELECT md5(string_agg(text, E'\\n' ORDER BY text)) FROM line
"""
"""Differs after any change to the schema. Where a definition would have to be rendered, the
transaction that wrote its row stands for it: a copy of the template has the rows of the template.
"""
_CHANGES = """
SELECT concat_ws(' ',
    (SELECT sum(pg_stat_get_tuples_inserted(one)) FROM unnest($1::text[]::regclass[]) one),
    (SELECT sum(pg_stat_get_tuples_updated(one) + pg_stat_get_tuples_deleted(one))
     FROM unnest($2::text[]::regclass[]) one),
    (SELECT string_agg((setrole, setconfig)::text, ' ' ORDER BY setrole)
     FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
     WHERE datname = current_database()),
    (SELECT (datacl, datdba, datconnlimit)::text
     FROM pg_database WHERE datname = current_database()))
"""
"""Differs after any write to the tables: inserts into the first ones, others into the second ones.
Sessions count when they end, or when they are told to."""
_COUNT_NOW = "SELECT pg_stat_force_next_flush()"
_CATALOG = (
    *("pg_attribute", "pg_attrdef", "pg_class", "pg_constraint", "pg_default_acl"),
    *("pg_event_trigger", "pg_extension", "pg_index", "pg_namespace", "pg_policy", "pg_proc"),
    *("pg_rewrite", "pg_trigger"),
)
"""The tables of `_SCHEMA` that each database has for itself. TRUNCATE writes to `pg_class`."""
_TABLES = """
SELECT format('%I.%I', nspname, relname) AS name
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid >= 16384 AND relkind = 'r' ORDER BY 1
"""
_COLUMNS = """
SELECT attname AS name FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
"""
_WITHOUT_TRIGGERS = "SET session_replication_role = replica"
"""Some tables refuse every DELETE."""
_GROWING = "public.audit_entries"
"""Has rows of the migrations, which never change, and rows of tests behind them."""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename) AS name, start_value, last_value
FROM pg_sequences ORDER BY 1
"""


@dataclass(frozen=True)
class CopiedTable:
    """The rows of one table, in the format of COPY."""

    name: str
    columns: tuple[str, ...]
    rows: bytes

    async def restore(self, connection: asyncpg.Connection) -> None:
        """Replace all rows of the table. For sessions in which no trigger fires."""
        await connection.execute(f"DELETE FROM {self.name}")
        await connection.copy_to_table(
            self.name.removeprefix("public."), source=BytesIO(self.rows), columns=self.columns
        )


@dataclass(frozen=True)
class FreshDatabase:
    """The state of a new copy of the template."""

    schema: str
    rows: str
    """The hash of the rows that migrations insert."""
    hash_rows: str
    """The statement that computes it."""
    reset: str
    """The statements that delete all other rows and set sequences back."""
    copies: tuple[CopiedTable, ...]
    """The tables with rows of the migrations."""


class DatabasePool:
    """The databases of one process of tests, on one server."""

    def __init__(self, server_url: str, fresh: FreshDatabase) -> None:
        self.server_url = server_url
        self.fresh = fresh
        self._free: list[str] = []
        self._loans: dict[str, int] = {}
        self._sessions: dict[str, asyncpg.Connection] = {}
        self._changes: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the sessions of the pool. Its databases stay on the server."""
        asyncio.run_coroutine_threadsafe(self._end_sessions(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end_sessions(self) -> None:
        for session in self._sessions.values():
            session.terminate()
        await asyncio.sleep(0)  # their sockets are closed by the loop

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[str]:
        """Yield the URL of a database for one test."""
        name = self._free.pop() if self._free else await _create(self.server_url)
        self._loans[name] = self._loans.get(name, 0) + 1
        try:
            yield with_database(self.server_url, name)
        finally:
            taking_back = asyncio.run_coroutine_threadsafe(self._take_back(name), self._loop)
            await asyncio.wrap_future(taking_back)

    async def _take_back(self, name: str) -> None:
        if self._loans[name] < _LOANS_MAX and await self._is_emptied(name):
            self._free.append(name)
            return
        if session := self._sessions.pop(name, None):
            session.terminate()
        await _run(self.server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _is_emptied(self, name: str) -> bool:
        """Empty the database. Return False if more than rows was changed in it."""
        try:
            session = await self._session(name)
            await session.execute(_DISCONNECT)
            before = await self._count_changes(session)
            if before != self._changes.get(name) and not await self._is_restored(session):
                return False
            await session.execute(self.fresh.reset)
            self._changes[name] = await self._count_changes(session)
        except asyncpg.PostgresError:  # it was renamed, or closed to all
            return False
        return True

    async def _count_changes(self, session: asyncpg.Connection) -> str:
        filled = [table.name for table in self.fresh.copies]
        inserted = [name for name in filled if name != _GROWING]
        await session.execute(_COUNT_NOW)
        changes: str = await session.fetchval(
            _CHANGES, [*_CATALOG, *inserted], [*_CATALOG, *filled]
        )
        return changes

    async def _is_restored(self, session: asyncpg.Connection) -> bool:
        """Restore the rows of the migrations. Return False if the schema differs."""
        fresh = self.fresh
        if await session.fetchval(_SCHEMA) != fresh.schema:
            return False
        if await session.fetchval(fresh.hash_rows) == fresh.rows:
            return True
        for table in fresh.copies:
            await table.restore(session)
        return await session.fetchval(fresh.hash_rows) == fresh.rows  # type: ignore[no-any-return]

    async def _session(self, name: str) -> asyncpg.Connection:
        """Return the open session of this database, or a new one if the test has ended it."""
        session = self._sessions.get(name)
        if session is not None and not session.is_closed():
            try:
                await session.execute("SELECT")
            except (asyncpg.PostgresError, OSError):
                session.terminate()
            else:
                return session
        session = await asyncpg.connect(with_database(self.server_url, name))
        await session.execute(_WITHOUT_TRIGGERS)
        self._sessions[name] = session
        return session


async def open_pool(server_url: str) -> DatabasePool:
    """Build the template on the server and return a pool of its copies."""
    await _run(server_url, f"CREATE DATABASE {_TEMPLATE}")
    await migrate(with_database(server_url, _TEMPLATE))
    name = await _create(server_url)
    # A copy is described, not the template: rights and settings of a database are not copied.
    connection = await asyncpg.connect(with_database(server_url, name))
    try:
        return DatabasePool(server_url, await _describe(connection))
    finally:
        await connection.close()
        await _run(server_url, f"DROP DATABASE {name}")


async def _create(server_url: str) -> str:
    name = f"t{uuid4().hex}"
    await _run(server_url, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    return name


async def _run(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _describe(connection: asyncpg.Connection) -> FreshDatabase:
    names = [row["name"] for row in await connection.fetch(_TABLES)]
    filled = [
        name for name in names if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})")
    ]
    last = await connection.fetchval(f"SELECT coalesce(max(id), 0) FROM {_GROWING}")
    conditions = {name: f"id > {last}" if name == _GROWING else "false" for name in filled}
    hashes = (
        f"(SELECT string_agg(r::text, ',' ORDER BY r::text) FROM {name} r WHERE NOT ({one}))"
        for name, one in conditions.items()
    )
    hash_rows = f"SELECT md5(concat_ws(';', {', '.join(hashes)}))"
    deletes = [f"DELETE FROM {name} WHERE {conditions.get(name, 'true')}" for name in names]
    restarts = [
        f"SELECT setval('{row['name']}', {row['last_value'] or row['start_value']},"
        f" {row['last_value'] is not None})"
        for row in await connection.fetch(_SEQUENCES)
    ]
    return FreshDatabase(
        schema=await connection.fetchval(_SCHEMA),
        rows=await connection.fetchval(hash_rows),
        hash_rows=hash_rows,
        reset="; ".join([*deletes, *restarts]),
        copies=tuple([await _copy(connection, name) for name in filled]),
    )


async def _copy(connection: asyncpg.Connection, name: str) -> CopiedTable:
    columns = tuple(row["name"] for row in await connection.fetch(_COLUMNS, name))
    rows = BytesIO()
    await connection.copy_from_query(f"SELECT {', '.join(columns)} FROM {name}", output=rows)
    return CopiedTable(name, columns, rows.getvalue())


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return f"{url.rpartition('/')[0]}/{name}"
