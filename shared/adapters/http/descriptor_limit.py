"""Divides the file descriptors of a process: what its listeners may take, and what is kept back.

A process that has run out of descriptors reaches neither Postgres nor Redis nor Kie.
"""

from __future__ import annotations

import resource
from contextlib import suppress

RESERVED_DESCRIPTORS = 256
"""Kept for servers and files by a process that mostly listens."""
_RESERVED_PART_MAX = 0.75
"""Of a limit so low that it has no room for connections beside what is reserved."""
_ENOUGH = 65_536


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as its hard limit allows, 65,536 at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems have a lower limit of their own than the hard limit says.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_listener_connections(reserved: int = RESERVED_DESCRIPTORS, limit: int | None = None) -> int:
    """Return how many connections all listeners of this process may hold together.

    `limit` is the most descriptors that the process may have. Default: the soft limit in force.
    """
    if limit is None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            limit = _ENOUGH
    return max(1, limit - min(reserved, round(limit * _RESERVED_PART_MAX)))
