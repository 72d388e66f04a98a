"""Chooses Postgres and Redis: the configured servers, or embedded ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from pydantic import SecretStr

from shared.adapters.embedded import EmbeddedServers, acquire_servers, has_database
from shared.adapters.postgres.migrations import migrate, require_current_schema
from shared.adapters.postgres.schema_choice import require_search_path
from shared.errors import ConfigurationError, EmbeddedServerError
from shared.postgres_url import database_address, read_postgres_url, set_parameter
from shared.redis_url.redis_url import read_redis_url, with_prefix
from shared.settings import Settings

log = structlog.get_logger(__name__)

REDIS_NOT_GIVEN = (
    "REDIS_URL is not set, and DATABASE_URL is: each machine would start a Redis of its own, and"
    " Kie's limits hold only where all workers share one. Set REDIS_URL to the same Redis or Valkey"
    " everywhere, or unset DATABASE_URL to try Darkroom out"
)


@dataclass(frozen=True, slots=True)
class Servers:
    """The URLs of Postgres and Redis. Valid inside the block of `open_servers`."""

    database_url: str
    redis_url: str
    """With REDIS_PREFIX, which `open_redis` reads.

    Empty if `needs_redis` is false and no Redis is configured.
    """
    embedded: EmbeddedServers | None
    """The attachment to the embedded servers. None if both URLs are configured."""
    has_given_database: bool
    database_direct_url: str | None = None
    """The database without a pooler, to listen for notifications. None means `database_url`."""

    @property
    def listening_url(self) -> str:
        """Where to listen for notifications."""
        return self.database_direct_url or self.database_url

    @property
    def database_place(self) -> str:
        """Where the database is, without credentials: `host:5432/name`, or `embedded in HOME`."""
        if self.embedded is not None and not self.has_given_database:
            return f"embedded in {self.embedded.home}"
        return database_address(self.database_url)


@asynccontextmanager
async def open_servers(
    settings: Settings,
    *,
    needs_redis: bool = True,
    check_schema: bool = True,
    creates_database: bool = True,
    for_migrations: bool = False,
    linger_seconds: float = 3.0,
) -> AsyncIterator[Servers]:
    """Use the configured servers, or run embedded ones for the duration of the block.

    An embedded database is migrated automatically. A configured database needs
    `darkroom migrate`, else `SchemaOutdated` is raised. A configured database also needs a
    configured Redis, else `ConfigurationError` is raised, because each machine would start its own
    Redis. With `needs_redis` false Redis may be missing. Without `creates_database`, a home that
    has no database raises `ConfigurationError` and stays as it is. Sessions look for tables in
    `DATABASE_SCHEMA`, except `for_migrations`. Raises `EmbeddedServerError` and `PostgresDown`.
    """
    given_database, given_redis = settings.database_url, settings.redis_url
    needs_valkey = given_redis is None and given_database is None
    if needs_redis and given_redis is None and given_database is not None:
        raise ConfigurationError(REDIS_NOT_GIVEN)
    embedded: EmbeddedServers | None = None
    if given_database is None:
        if not creates_database:
            await _require_database(settings.darkroom_home)
        acquire = partial(acquire_servers, valkey=needs_valkey, linger_seconds=linger_seconds)
        embedded = await asyncio.to_thread(acquire, settings.darkroom_home)
    try:
        database_url = _given_database_url(settings) or _require_url(embedded, "database_url")
        if settings.database_schema is not None and not for_migrations:
            database_url = await require_search_path(database_url, settings.database_schema)
        redis_url = _given_redis_url(settings)
        if redis_url is None and needs_valkey:
            redis_url = _require_url(embedded, "redis_url")
        servers = Servers(
            database_url=database_url,
            redis_url=with_prefix(redis_url, settings.redis_prefix),
            embedded=embedded,
            has_given_database=given_database is not None,
            database_direct_url=_secret_text(settings.database_direct_url),
        )
        if check_schema and servers.has_given_database:
            await require_current_schema(servers.database_url)
        elif check_schema:
            await migrate(servers.database_url, schema=settings.database_schema)
        yield servers
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.release)


def _given_redis_url(settings: Settings) -> str | None:
    """Return `REDIS_URL`. Logs parameters that are not used."""
    url = _secret_text(settings.redis_url)
    ignored = () if url is None else read_redis_url(url).ignored
    if ignored:
        log.warning("redis_url_parameters_unused", parameters=list(ignored))
    return url


def _given_database_url(settings: Settings) -> str | None:
    """Return `DATABASE_URL` with what `DATABASE_STATEMENT_CACHE` says. Logs unused parameters."""
    url = _secret_text(settings.database_url)
    if url is None:
        return None
    dropped = read_postgres_url(url).dropped
    if dropped:
        log.warning("database_url_parameters_unused", parameters=list(dropped))
    size = {"on": "100", "off": "0"}.get(settings.database_statement_cache)
    return url if size is None else set_parameter(url, "statement_cache_size", size)


def _secret_text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


async def _require_database(home: Path) -> None:
    if not await asyncio.to_thread(has_database, home):
        raise ConfigurationError(
            f"no Darkroom here: DARKROOM_HOME is {home.resolve()}, which has no database, and"
            " DATABASE_URL is not set. Start one with `darkroom up`, or set DARKROOM_HOME or"
            " DATABASE_URL to the one that you mean"
        )


def _require_url(embedded: EmbeddedServers | None, name: str) -> str:
    url: str | None = getattr(embedded, name, None)
    if url is None:
        raise EmbeddedServerError("the embedded servers did not say where they are")
    return url
