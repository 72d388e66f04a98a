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
"""Between two looks at what is due: a commit for each job would burden Postgres for nothing."""


def due(elapsed_seconds: float, jobs: int, seconds: float) -> int:
    """Return how many of the jobs are due by now, evenly over the seconds."""
    if seconds <= 0:
        return jobs
    return max(0, min(jobs, int(elapsed_seconds / seconds * jobs) + 1))


async def place_all(enqueue: Enqueue) -> None:
    """Store and enqueue what the last argument of the command line asks for.

    The row is committed first and enqueued then, as in any service whose queue is in Redis.
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
