"""`python -m bench.idle_worker`: the cost of an idle worker.

Prints processor time, memory, and what the worker asks of Redis and Postgres, over one minute. With
`--paused-jobs`, so many jobs wait meanwhile, all of them paused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from redis.asyncio import Redis

from bench.measurement.bench_deployment import (
    ACCOUNT,
    BenchDeployment,
    open_bench_deployment,
)
from bench.measurement.measured_process import cpu_seconds, running
from bench.measurement.pipelines import DarkroomPipeline, log_folder
from bench.measurement.statement_counts import count_since, log_size, logged
from producer import Producer
from tests.support.arguments import positive, seconds_up_to
from tests.support.report_page import table
from tests.support.run_description import describe_run

_WARM_UP_SECONDS = 15.0
"""Longer than the longest wait of a start: the checks of other processes and of the balance."""


async def measure(measured_seconds: float, paused_jobs: int) -> str:
    """Start a worker that has nothing to submit and measure it. Returns Markdown."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with (
            open_bench_deployment(Path(folder), simulator=[]) as deployment,
            Redis.from_url(deployment.servers.redis_url) as redis,
            logged(deployment),
        ):
            ours = DarkroomPipeline()
            if paused_jobs:
                await _enqueue_paused(deployment, ours, paused_jobs)
            program = ours.worker(deployment)
            async with running(
                program.arguments,
                program.environ,
                folder=log_folder(deployment, "idle"),
                ready=program.ready,
            ) as pid:
                await asyncio.sleep(_WARM_UP_SECONDS)
                await redis.config_resetstat()
                busy_seconds, log_start = cpu_seconds(pid), log_size(deployment)
                await asyncio.sleep(measured_seconds)
                busy_seconds = cpu_seconds(pid) - busy_seconds
                statements = count_since(deployment, log_start)
                stats = await redis.info("commandstats")
                resident = _resident_mib(pid)
    commands = sum(
        stat["calls"] for name, stat in stats.items() if name != "cmdstat_config|resetstat"
    )
    rows = (
        ("processor time, % of a core", f"{100 * busy_seconds / measured_seconds:.2f}", "≤ 1"),
        ("resident memory, MiB", f"{resident:.1f}", "≤ 80"),
        (
            "Redis commands a second, inside scripts too",
            f"{commands / measured_seconds:.2f}",
            "≤ 1",
        ),
        ("statements in 5 s", f"{5 * statements / measured_seconds:.2f}", "≤ 1"),
    )
    command = f"python -m bench.idle_worker --seconds {measured_seconds:g}"
    command += f" --paused-jobs {paused_jobs}" if paused_jobs else ""
    head = describe_run(command, (load, os.getloadavg()[0]), "none")
    figures = table((_worker_text(paused_jobs), "figure", "goal"), rows)
    return "\n".join(head) + "\n\n" + figures + "\n"


def _worker_text(paused_jobs: int) -> str:
    return f"a worker beside {paused_jobs:,} paused jobs" if paused_jobs else "an idle worker"


async def _enqueue_paused(
    deployment: BenchDeployment, pipeline: DarkroomPipeline, jobs: int
) -> None:
    """Enqueue jobs, and pause their account."""
    await pipeline.place(deployment, jobs)
    async with Producer.connect_to(deployment.servers) as producer:
        await producer.pauses.pause("account", ACCOUNT, reason="measured")


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.idle_worker", allow_abbrev=False)
    parser.add_argument("--seconds", type=seconds_up_to(600), default=60.0)
    parser.add_argument("--paused-jobs", type=positive, default=0)
    given = parser.parse_args()
    sys.stdout.write(asyncio.run(measure(given.seconds, given.paused_jobs)))
