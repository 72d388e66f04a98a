"""A connection of the driver with TCP keepalive."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import asyncpg

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


class KeptAliveConnection(_DriverConnection):
    """A connection with TCP keepalive."""

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        self._socket = transport.get_extra_info("socket")
        keep_alive(self._socket)

    def set_keepalive(self, parameters: Mapping[str, str]) -> None:
        """Apply the keepalive parameters of a URL."""
        if parameters:
            apply_keepalive(self._socket, parameters)


def apply_keepalive(opened: Any, parameters: Mapping[str, str]) -> None:
    """Set libpq's keepalive parameters on a socket. 0 means our own value, as for libpq."""
    changes = {
        getattr(socket, option): int(parameters[name])
        for name, option in _OPTIONS.items()
        if int(parameters.get(name, "0")) and hasattr(socket, option)
    }
    keep_alive(opened, is_on=parameters.get("keepalives", "1") != "0", changes=changes)
