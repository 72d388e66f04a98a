"""Places jobs into a peer's pipeline, all at once or evenly over a time. Runs in every peer's
environment, in a process of its own, as a backend service would be.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence

from bench.peers.peer_settings import read_peer_settings
from bench.peers.peer_tables import open_job_table

Enqueue = Callable[[Sequence[int]], Awaitable[None]]
_AT_ONCE = 500
TICK_SECONDS = 0.02
"""The interval of placing due jobs, so that one commit places several jobs."""


def due(elapsed_seconds: float, jobs: int, seconds: float) -> int:
    """Return the number of jobs due by now at a constant rate."""
    if seconds <= 0:
        return jobs
    return max(0, min(jobs, int(elapsed_seconds / seconds * jobs) + 1))


async def place_all(enqueue: Enqueue) -> None:
    """Store and enqueue the jobs of the last command line argument.

    Each row is committed before it is enqueued, as services with a queue in Redis do.
    """
    given = json.loads(sys.argv[-1])
    jobs, seconds = int(given["jobs"]), float(given["seconds"])
    clock = asyncio.get_running_loop().time
    async with open_job_table(read_peer_settings(), connections=2) as job_table:
        started_at, placed = clock(), 0
        while placed < jobs:
            until = min(due(clock() - started_at, jobs, seconds), placed + _AT_ONCE)
            if until > placed:
                numbers = range(placed, until)
                await job_table.place(numbers)
                await enqueue(numbers)
                placed = until
            if seconds > 0:
                await asyncio.sleep(TICK_SECONDS)
