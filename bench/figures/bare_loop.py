"""A lower bound: the same HTTP calls and number of Postgres statements, and nothing else.

No queue, no state machine, no ledger. `python -m bench.figures.bare_loop '{"jobs": 800, "polls": 4,
"statements": 8, "first_seconds": 2, "gap_seconds": 1, "end_seconds": 4.7}'` waits for SIGCONT,
does the jobs, and waits for SIGTERM. `polls` and `statements` are per job and may be fractions.
Where there are fewer than three statements for a job, its first writes are left out; the last one,
which ends it, is always made.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import dataclass

import asyncpg
import uvloop

from bench.peers.kie_calls import Kie, open_kie
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import describe, skip_session_reset

AT_ONCE = 100
_CLAIM = "UPDATE peers.jobs SET state = 'submitting' WHERE id = $1"
_SUBMITTED = "UPDATE peers.jobs SET state = 'generating', task_id = $2 WHERE id = $1"
_LOOK = "SELECT prompt, quantity, state, task_id FROM peers.jobs WHERE id = $1"
_DONE = (
    "UPDATE peers.jobs SET state = 'succeeded', result_urls = $2,"
    " finished_at = clock_timestamp() WHERE id = $1"
)
_WRITES = 3


@dataclass(frozen=True, slots=True)
class LoopLoad:
    """The requests and statements of one job."""

    jobs: int
    polls: float
    statements: float
    first_seconds: float
    gap_seconds: float
    end_seconds: float
    """The time of the last poll after the create. The task has ended by then."""


def share(number: int, per_job: float) -> int:
    """Return the count for job `number`, so that the average over all jobs is `per_job`."""
    return int((number + 1) * per_job) - int(number * per_job)


def poll_moments(polls: int, shape: LoopLoad) -> list[float]:
    """Return the times of the polls in seconds after the create. The last one finds the end."""
    early = [
        min(shape.first_seconds + index * shape.gap_seconds, shape.end_seconds)
        for index in range(max(polls, 1) - 1)
    ]
    return [*early, max(shape.end_seconds, *early, 0.0)]


class BareLoop:
    """Runs all jobs concurrently, with as many requests at once as a worker has slots."""

    def __init__(self, kie: Kie, pool: asyncpg.Pool, shape: LoopLoad) -> None:
        self._kie = kie
        self._pool = pool
        self._shape = shape
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Do every job."""
        await asyncio.gather(*(self._do(number) for number in range(self._shape.jobs)))

    async def _do(self, number: int) -> None:
        polls = max(share(number, self._shape.polls), 1)
        statements = share(number, self._shape.statements)
        reads = max(statements - _WRITES, 0)
        async with self._slots:
            prompt, quantity = describe(number)
            if statements >= _WRITES:
                await self._pool.execute(_CLAIM, number)
            task_id = await self._kie.create(prompt, quantity)
            if statements >= _WRITES - 1:
                await self._pool.execute(_SUBMITTED, number, task_id)
        clock = asyncio.get_running_loop().time
        created_at, urls = clock(), None
        for index, moment in enumerate(poll_moments(polls, self._shape)):
            await asyncio.sleep(max(created_at + moment - clock(), 0))
            async with self._slots:
                for _ in range((index + 1) * reads // polls - index * reads // polls):
                    await self._pool.fetchrow(_LOOK, number)
                urls = await self._kie.poll(task_id)
        if urls is None:
            raise RuntimeError(f"the task of job {number} is not done in time for the last poll")
        async with self._slots:
            await self._pool.execute(_DONE, number, urls)


async def main() -> None:
    """Wait, do the jobs, wait."""
    shape = LoopLoad(**json.loads(sys.argv[1]))
    setting = read_peer_settings()
    loop = asyncio.get_running_loop()
    go, stop = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGCONT, go.set)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        asyncpg.create_pool(
            setting.database_url, min_size=1, max_size=10, reset=skip_session_reset
        ) as pool,
        open_kie(setting) as kie,
    ):
        report_ready()
        await go.wait()
        await BareLoop(kie, pool, shape).run()
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main())
