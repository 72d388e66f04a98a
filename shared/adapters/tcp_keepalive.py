"""Socket options that detect dead TCP connections.

A NAT or firewall can drop an idle connection without notifying either side. A reader on such a
connection would wait forever.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

_KEEPALIVE_IDLE_SECONDS = 15
_KEEPALIVE_INTERVAL_SECONDS = 5
_KEEPALIVE_PROBES = 3
_UNACKNOWLEDGED_MS = 10_000


def tcp_options(*, ends_unacknowledged: bool = True) -> dict[int, int]:
    """Return the keepalive options at level `IPPROTO_TCP` that this system supports, by number.

    Idle connections are probed every few seconds, which also keeps them open in a NAT. With
    `ends_unacknowledged`, the connection ends if sent data is not acknowledged for 10 s.
    """
    wanted = {
        "TCP_KEEPIDLE": _KEEPALIVE_IDLE_SECONDS,
        "TCP_KEEPINTVL": _KEEPALIVE_INTERVAL_SECONDS,
        "TCP_KEEPCNT": _KEEPALIVE_PROBES,
    }
    if ends_unacknowledged:
        wanted["TCP_USER_TIMEOUT"] = _UNACKNOWLEDGED_MS
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def open_keep_alive_socket(info: tuple[Any, ...]) -> socket.socket:
    """Open a socket for an HTTP client, with keepalive. `info` is an entry of `getaddrinfo`.

    The timeout of a request limits how long it may be unacknowledged.
    """
    family, kind, protocol = info[:3]
    opened = socket.socket(family=family, type=kind, proto=protocol)
    keep_alive(opened, ends_unacknowledged=False)
    return opened


def keep_alive(
    connection: Any,
    *,
    ends_unacknowledged: bool = True,
    is_on: bool = True,
    changes: Mapping[int, int] | None = None,
) -> None:
    """Set keepalive and `tcp_options` on a TCP socket. Other sockets are not changed.

    `changes` replaces some of the options. With `is_on` false, idle connections are not probed.
    """
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(is_on))
    options = {**tcp_options(ends_unacknowledged=ends_unacknowledged), **(changes or {})}
    for option, value in options.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
