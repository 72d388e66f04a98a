"""The figure P7: how many commands Redis gets per job, from eight workers and from one."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from redis.asyncio import Redis

from bench.figures.cpu_per_job import PACE
from bench.measurement.bench_deployment import House
from bench.measurement.measured_process import held_still, running
from bench.measurement.pipelines import Contestant, Darkroom, Peer, log_folder
from bench.measurement.worker_run import wait_until_all_ended

CROWD = 8
_MOST_ROUNDS = 2
"""Commands are counted, not timed: more rounds would tell nothing more."""


@dataclass(frozen=True, slots=True)
class Commands:
    """Redis commands per job, of one contestant in one round."""

    name: str
    alone: float
    crowded: float


async def measure_crowding(house: House, rounds: int, jobs: int, *, arq: bool) -> list[Commands]:
    """Count the commands of Darkroom, and of stock arq if asked."""
    contestants: list[Contestant] = [Darkroom()]
    if arq:
        contestants.append(Peer("arq", PACE, is_tuned=True))
    found = []
    for _ in range(min(rounds, _MOST_ROUNDS)):
        for contestant in contestants:
            alone = await _commands_per_job(house, contestant, 1, jobs)
            crowded = await _commands_per_job(house, contestant, CROWD, jobs)
            found.append(Commands(contestant.name, alone, crowded))
            sys.stderr.write(f"{found[-1]}\n")
    return found


async def _commands_per_job(house: House, contestant: Contestant, workers: int, jobs: int) -> float:
    await house.start_over()
    async with AsyncExitStack() as stack, Redis.from_url(house.servers.redis_url) as redis:
        pids = []
        for number in range(workers):
            program = contestant.worker(house)
            folder = log_folder(house, f"{contestant.name} {number}")
            started = running(
                program.arguments, program.environ, folder=folder, ready=program.ready
            )
            pids.append(await stack.enter_async_context(started))
        async with AsyncExitStack() as still:
            for pid in pids:
                await still.enter_async_context(held_still(pid))
            await contestant.place(house, jobs)
            await redis.config_resetstat()
        await wait_until_all_ended(house, contestant)
        stats = await redis.info("commandstats")
        calls: int = sum(stat["calls"] for stat in stats.values())
        return calls / jobs
