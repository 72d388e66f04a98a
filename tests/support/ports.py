"""Free TCP ports for tests and benchmarks."""

from __future__ import annotations

import socket
from random import SystemRandom

# Below the ports that systems give to outgoing connections: one of those may otherwise be on the
# port of a program between its death and its next start.
_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_000


def free_port() -> int:
    """Return a port that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_for_restarts() -> int:
    """Return a free port for a program that is killed and started again on it.

    The choice follows no seed, so that two runs of one seed at the same time share no port.
    """
    random = SystemRandom()
    while True:
        port = random.randrange(_LOWEST_PORT, _HIGHEST_PORT)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
