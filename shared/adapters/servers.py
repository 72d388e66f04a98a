"""Chooses Postgres and Redis: the configured servers, or embedded ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from shared.adapters.embedded import EmbeddedServers, acquire_servers
from shared.adapters.postgres.migrations import migrate, require_current_schema
from shared.errors import ConfigurationError, EmbeddedServerError
from shared.settings import Settings

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
    """Empty if `needs_redis` is false and no Redis is configured."""
    embedded: EmbeddedServers | None
    """The attachment to the embedded servers. None if both URLs are configured."""
    has_given_database: bool


@asynccontextmanager
async def open_servers(
    settings: Settings,
    *,
    needs_redis: bool = True,
    check_schema: bool = True,
    linger_seconds: float = 3.0,
) -> AsyncIterator[Servers]:
    """Use the configured servers, or run embedded ones for the duration of the block.

    An embedded database is migrated automatically. A configured database needs
    `darkroom migrate`, else `SchemaOutdated` is raised. A configured database also needs a
    configured Redis, else `ConfigurationError` is raised, because each machine would start its own
    Redis. With `needs_redis` false Redis may be missing. Raises `EmbeddedServerError` and
    `PostgresDown`.
    """
    given_database, given_redis = settings.database_url, settings.redis_url
    needs_valkey = given_redis is None and given_database is None
    if needs_redis and given_redis is None and given_database is not None:
        raise ConfigurationError(REDIS_NOT_GIVEN)
    embedded: EmbeddedServers | None = None
    if given_database is None or needs_valkey:
        embedded = await asyncio.to_thread(
            acquire_servers,
            settings.darkroom_home,
            postgres=given_database is None,
            valkey=needs_valkey,
            linger_seconds=linger_seconds,
        )
    try:
        servers = Servers(
            database_url=_choose(given_database, embedded.database_url if embedded else None),
            redis_url=(
                ""
                if given_redis is None and not needs_valkey
                else _choose(given_redis, embedded.redis_url if embedded else None)
            ),
            embedded=embedded,
            has_given_database=given_database is not None,
        )
        if check_schema:
            if servers.has_given_database:
                await require_current_schema(servers.database_url)
            else:
                await migrate(servers.database_url)
        yield servers
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.release)


def _choose(given: SecretStr | None, embedded: str | None) -> str:
    if given is not None:
        return given.get_secret_value()
    if embedded is None:
        raise EmbeddedServerError("the embedded servers did not say where they are")
    return embedded
