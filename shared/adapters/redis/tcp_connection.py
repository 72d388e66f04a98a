"""Connections over TCP, with TLS as the URL says, and without.

A server that has TLS where the URL says none, or none where it says TLS, closes the connection
without a word. The errors of both classes say so.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.adapters.redis.redis_errors import (
    CLOSED_WITH_TLS,
    CLOSED_WITHOUT_TLS,
    NO_HANDSHAKE,
    error_text,
    is_server_reply,
)
from shared.redis_url.tls_options import TlsOptions


class PlainConnection(Connection):
    """A connection without TLS."""

    async def on_connect(self) -> None:
        """Log in."""
        async with _told_as(CLOSED_WITHOUT_TLS):
            await super().on_connect()


class TlsConnection(SSLConnection):
    """A connection over TLS.

    redis-py verifies no host name unless told, and trusts the authorities of the system beside
    those of the URL.
    """

    def __init__(self, *, tls: TlsOptions, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    async def on_connect(self) -> None:
        """Log in."""
        async with _told_as(CLOSED_WITH_TLS):
            await super().on_connect()

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = Connection._connection_arguments(self)
        return {**arguments, "ssl": self._tls.open_context()}

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
            reason = str(error) or "the server closed the connection"
            raise RedisConnectionError(
                f"{NO_HANDSHAKE} with {self.host}:{self.port}: {reason}"
            ) from error


@asynccontextmanager
async def _told_as(what: str) -> AsyncIterator[None]:
    """Say that the server closed the connection before it was ready."""
    try:
        yield
    except RedisConnectionError as error:
        if is_server_reply(error):
            raise
        raise RedisConnectionError(f"{error_text(error)}, {what}") from error
