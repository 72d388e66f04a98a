"""Tells a long connection that is quiet from one that is dead: heartbeats, and socket settings.

A NAT or a firewall that forgets a connection says so to neither side. What waits for pushes on it
would wait for ever.
"""

from __future__ import annotations

import socket
from typing import Any

_KEEPALIVE_IDLE_SECONDS = 15
_KEEPALIVE_INTERVAL_SECONDS = 5
_KEEPALIVE_PROBES = 3
_UNACKNOWLEDGED_MS = 10_000


def tcp_options(*, ends_unacknowledged: bool = True) -> dict[int, int]:
    """Return the options at level `IPPROTO_TCP` that this system has, by number.

    An idle connection is probed every few seconds, which also keeps a NAT from forgetting it. With
    `ends_unacknowledged`, what is sent and not acknowledged ends the connection after ten seconds,
    not after a quarter of an hour.
    """
    wanted = {
        "TCP_KEEPIDLE": _KEEPALIVE_IDLE_SECONDS,
        "TCP_KEEPINTVL": _KEEPALIVE_INTERVAL_SECONDS,
        "TCP_KEEPCNT": _KEEPALIVE_PROBES,
    }
    if ends_unacknowledged:
        wanted["TCP_USER_TIMEOUT"] = _UNACKNOWLEDGED_MS
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def keep_alive(connection: Any, *, ends_unacknowledged: bool = True) -> None:
    """Set keepalive and the options above on a TCP socket; any other socket is left as it is."""
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in tcp_options(ends_unacknowledged=ends_unacknowledged).items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
