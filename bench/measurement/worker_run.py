"""Measures one worker process of a pipeline with waiting jobs."""

from __future__ import annotations

import asyncio
import time

from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.measured_process import cpu_seconds, running, suspended
from bench.measurement.pipelines import Pipeline, log_folder
from bench.measurement.run_statistics import Run
from bench.measurement.statement_counts import connect_unlogged, count_since, log_size, logged

_LOOK_SECONDS = 0.05
_LONGEST_SECONDS = 600.0


async def measure(deployment: BenchDeployment, pipeline: Pipeline, jobs: int) -> Run:
    """Run one worker of the pipeline until the jobs have ended. Raises TimeoutError after 600 s.

    The jobs are placed while the worker is suspended, so that placing and starting are not
    measured.
    """
    await deployment.start_over()
    program = pipeline.worker(deployment)
    folder = log_folder(deployment, pipeline.name)
    async with running(
        program.arguments, program.environ, folder=folder, ready=program.ready
    ) as pid:
        async with suspended(pid):
            await pipeline.place(deployment, jobs)
            worker, kie = cpu_seconds(pid), cpu_seconds(deployment.kie_pid)
            logged_before, started_at = log_size(deployment), time.time()
        ended_at = await wait_until_all_ended(deployment, pipeline)
        worker, kie = cpu_seconds(pid) - worker, cpu_seconds(deployment.kie_pid) - kie
        statements = count_since(deployment, logged_before)
    record = await deployment.record()
    lags = await read_lags(deployment, pipeline)
    return Run(
        name=pipeline.name,
        jobs=jobs,
        seconds=ended_at - started_at,
        cpu_seconds=worker,
        polls=record["polls"]["arrived"],
        statements=statements,
        kie_cpu_seconds=kie,
        lags=lags,
    )


async def read_lags(
    deployment: BenchDeployment, pipeline: Pipeline, *, created_since: float = 0.0
) -> tuple[float, ...]:
    """Return the seconds from each task's end at Kie to the settlement of its job.

    Tasks created before `created_since` (epoch seconds) are skipped.
    """
    connection = await connect_unlogged(deployment)
    try:
        ends = await pipeline.ends(connection)
    finally:
        await connection.close()
    tasks = await deployment.tasks()
    return tuple(
        ends[task["task_id"]] - task["finished_at"]
        for task in tasks
        if task["task_id"] in ends
        and task["finished_at"] is not None
        and task["created_at"] >= created_since
    )


async def count_statements(deployment: BenchDeployment, pipeline: Pipeline, jobs: int) -> float:
    """Return the number of statements per job of a worker, from a separate run.

    Logging statements takes time, so this run measures nothing else.
    """
    async with logged(deployment):
        run = await measure(deployment, pipeline, jobs)
    return run.statements / jobs


async def wait_until_all_ended(
    deployment: BenchDeployment,
    pipeline: Pipeline,
    *,
    within_seconds: float = _LONGEST_SECONDS,
    look_seconds: float = _LOOK_SECONDS,
) -> float:
    """Return the end of the last job (epoch seconds). Raises TimeoutError if it takes too long."""
    connection = await connect_unlogged(deployment)
    try:
        async with asyncio.timeout(within_seconds):
            while await pipeline.count_open(connection):
                await asyncio.sleep(look_seconds)
        return await pipeline.last_end(connection)
    finally:
        await connection.close()
