"""A connection of the driver with TCP keepalive, which knows the types of Postgres."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncpg

from shared.adapters.postgres.connections.array_types import describe_arrays
from shared.adapters.tcp_keepalive import keep_alive

if TYPE_CHECKING:
    _DriverConnection = asyncpg.Connection[asyncpg.Record]
else:
    _DriverConnection = asyncpg.Connection

_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
_NO_QUERY = SimpleNamespace(name="none")
"""In place of a query of the driver. With a name, it has not replaced the unnamed statement."""


class KeptAliveConnection(_DriverConnection):
    """A connection with TCP keepalive. It asks the server only about types that we do not know."""

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        self._socket = transport.get_extra_info("socket")
        keep_alive(self._socket)

    def set_keepalive(self, parameters: Mapping[str, str]) -> None:
        """Apply the keepalive parameters of a URL."""
        if parameters:
            apply_keepalive(self._socket, parameters)

    async def _introspect_types(self, typeoids: Collection[int], timeout: float | None) -> Any:
        """Replace a method of the driver: return what it must know of types, and its query."""
        known = describe_arrays(typeoids)
        if known is not None:
            return known, _NO_QUERY
        return await super()._introspect_types(typeoids, timeout)  # type: ignore[misc]


def apply_keepalive(opened: Any, parameters: Mapping[str, str]) -> None:
    """Set libpq's keepalive parameters on a socket. 0 means our own value, as for libpq."""
    changes = {
        getattr(socket, option): int(parameters[name])
        for name, option in _OPTIONS.items()
        if int(parameters.get(name, "0")) and hasattr(socket, option)
    }
    keep_alive(opened, is_on=parameters.get("keepalives", "1") != "0", changes=changes)
