"""Opens the connections of a pool, and learns whether a pooler such as PgBouncer is between."""

from __future__ import annotations

from typing import Any

import structlog

from shared.adapters.postgres.connections.session_settings import SessionSettings
from shared.adapters.postgres.primary_host import connect_to_primary
from shared.postgres_url import read_postgres_url

log = structlog.get_logger(__name__)

_CACHED_STATEMENTS = 100
_LOST_STATEMENT = frozenset({"26000", "42P05"})
"""A prepared statement is missing, or one of its name exists: the session is not ours alone."""


class PoolConnections:
    """How one pool connects.

    Through a pooler, statements are not prepared under a name unless the URL or
    `DATABASE_STATEMENT_CACHE` says so: in transaction mode the name may mean another statement
    on the next connection of the server.
    """

    def __init__(self, url: str, settings: SessionSettings) -> None:
        self.settings = settings
        self.is_pooled = False
        """Whether a pooler is between. Known after the first connection."""
        parsed = read_postgres_url(url)
        self._is_told = parsed.statement_cache is not None
        self.caches_statements = parsed.statement_cache is not False
        # The driver then runs a query of its own before we know what is between.
        self._must_look_first = "target_session_attrs" in parsed.parameters or len(parsed.hosts) > 1

    async def connect(self, url: str, **options: Any) -> Any:
        """Return a connection, with the settings of its session. Called by the pool."""
        cached = self.caches_statements and (self._is_told or not self._must_look_first)
        connection = await self._open(url, options, cached=cached)
        self._must_look_first = False
        if cached != self.caches_statements:
            connection.terminate()
            connection = await self._open(url, options, cached=self.caches_statements)
        return connection

    async def _open(self, url: str, options: dict[str, Any], *, cached: bool) -> Any:
        size = _CACHED_STATEMENTS if cached else 0
        connection = await connect_to_primary(url, **options, statement_cache_size=size)
        try:
            if not await self.settings.set_for_session(connection):
                self._record_pooler()
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _record_pooler(self) -> None:
        if self.is_pooled:
            return
        self.is_pooled = True
        if not self._is_told:
            self.caches_statements = False
        log.info("database_pooler_found", statement_cache=self.caches_statements)

    def stop_caching(self, sqlstate: str | None) -> bool:
        """Prepare statements no more under names, if this error shows that it cannot work here.

        Return True if the statement, which was not run, can be repeated on a new connection.
        """
        if sqlstate not in _LOST_STATEMENT or self._is_told:
            return False
        if self.caches_statements:
            self.caches_statements = False
            log.warning("database_statement_cache_off", reason=f"SQLSTATE {sqlstate}")
        return True
