"""Limits how many file descriptors of a process its listeners may use.

A process without free descriptors cannot connect to Postgres, Redis or Kie.
"""

from __future__ import annotations

import resource
from contextlib import suppress

RESERVED_DESCRIPTORS = 256
"""Descriptors reserved for outgoing connections and files."""
_RESERVED_PART_MAX = 0.75
"""The maximum share of reserved descriptors, for low limits."""
_ENOUGH = 65_536


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard limit, at most to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems allow less than their hard limit.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_listener_connections(reserved: int = RESERVED_DESCRIPTORS, limit: int | None = None) -> int:
    """Return the maximum number of connections of all listeners of this process together.

    `limit` is the number of descriptors of the process. Default: the current soft limit.
    """
    if limit is None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            limit = _ENOUGH
    return max(1, limit - min(reserved, round(limit * _RESERVED_PART_MAX)))
