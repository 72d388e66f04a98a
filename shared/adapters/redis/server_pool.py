"""Opens the pool of connections to the server or the Sentinels of a Redis URL."""

from __future__ import annotations

from typing import Any

from redis.asyncio.connection import UnixDomainSocketConnection

from shared.adapters.redis.connection_pool import ReconnectingPool
from shared.adapters.redis.sentinel import primary_options
from shared.adapters.redis.slot_owner import slot_owner_options
from shared.adapters.redis.tcp_connection import PlainConnection, TlsConnection
from shared.adapters.tcp_keepalive import tcp_options
from shared.redis_url.redis_url import RedisUrl, has_hash_tag

CONNECT_TIMEOUT_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 5.0


def open_pool(url: RedisUrl, *, connections: int) -> ReconnectingPool:
    """Return a pool for that URL. It connects at the first command."""
    options: dict[str, Any] = {
        "max_connections": connections,
        "timeout": ANSWER_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # A server that disappears must not block a worker.
        "socket_timeout": ANSWER_TIMEOUT_SECONDS,
        "health_check_interval": 30,
        "db": url.database,
        "username": url.username,
        "password": url.password,
        "client_name": url.client_name,
        "prefix": url.prefix,
    }
    if url.socket_path is None:  # the client refuses these for Unix sockets
        options |= {"socket_keepalive": True, "socket_keepalive_options": tcp_options()}
    return ReconnectingPool(**options, **_place_of(url))


def _place_of(url: RedisUrl) -> dict[str, Any]:
    """Return the connection class and its own options."""
    tls = {} if url.tls is None else {"tls": url.tls}
    if url.socket_path is not None:
        return {"connection_class": UnixDomainSocketConnection, "path": url.socket_path}
    if url.service is not None:
        return {**primary_options(url), **tls}
    if has_hash_tag(url.prefix):
        return {**slot_owner_options(url), **tls}
    ((host, port),) = url.hosts
    kind = PlainConnection if url.tls is None else TlsConnection
    return {"connection_class": kind, "host": host, "port": port, **tls}
