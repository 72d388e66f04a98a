"""A connection over TLS, verified as the URL says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection

from shared.redis_url.tls_options import TlsOptions


class TlsConnection(SSLConnection):
    """A connection over TLS.

    redis-py verifies no host name unless told, and trusts the authorities of the system beside
    those of the URL.
    """

    def __init__(self, *, tls: TlsOptions, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = Connection._connection_arguments(self)
        return {**arguments, "ssl": self._tls.open_context()}
