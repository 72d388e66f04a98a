"""The figure P7: Redis commands per job, with one worker and with eight."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from redis.asyncio import Redis

from bench.figures.cpu_per_job import POLL_SCHEDULE
from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.measured_process import running, suspended
from bench.measurement.pipelines import DarkroomPipeline, PeerPipeline, Pipeline, log_folder
from bench.measurement.worker_run import wait_until_all_ended

MANY_WORKERS = 8
_MOST_ROUNDS = 2
"""Commands are counted, not timed, so few rounds are enough."""


@dataclass(frozen=True, slots=True)
class CommandCounts:
    """Redis commands per job of one pipeline in one round."""

    name: str
    alone: float
    crowded: float


async def measure_redis_commands(
    deployment: BenchDeployment, rounds: int, jobs: int, *, arq: bool
) -> list[CommandCounts]:
    """Count the commands of Darkroom, and optionally of stock arq."""
    pipelines: list[Pipeline] = [DarkroomPipeline()]
    if arq:
        pipelines.append(PeerPipeline("arq", POLL_SCHEDULE, is_tuned=True))
    found = []
    for _ in range(min(rounds, _MOST_ROUNDS)):
        for pipeline in pipelines:
            alone = await _commands_per_job(deployment, pipeline, 1, jobs)
            crowded = await _commands_per_job(deployment, pipeline, MANY_WORKERS, jobs)
            found.append(CommandCounts(pipeline.name, alone, crowded))
            sys.stderr.write(f"{found[-1]}\n")
    return found


async def _commands_per_job(
    deployment: BenchDeployment, pipeline: Pipeline, workers: int, jobs: int
) -> float:
    await deployment.start_over()
    async with AsyncExitStack() as stack, Redis.from_url(deployment.servers.redis_url) as redis:
        pids = []
        for number in range(workers):
            program = pipeline.worker(deployment)
            folder = log_folder(deployment, f"{pipeline.name} {number}")
            started = running(
                program.arguments, program.environ, folder=folder, ready=program.ready
            )
            pids.append(await stack.enter_async_context(started))
        async with AsyncExitStack() as still:
            for pid in pids:
                await still.enter_async_context(suspended(pid))
            await pipeline.place(deployment, jobs)
            await redis.config_resetstat()
        await wait_until_all_ended(deployment, pipeline)
        stats = await redis.info("commandstats")
        calls: int = sum(stat["calls"] for stat in stats.values())
        return calls / jobs
