"""`python -m bench.idle_worker`: the cost of an idle worker.

Prints processor time, memory, and what the worker asks of Redis and Postgres, over one minute.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from redis.asyncio import Redis

from bench.measurement.bench_deployment import open_bench_deployment
from bench.measurement.measured_process import cpu_seconds, running
from bench.measurement.pipelines import DarkroomPipeline, log_folder
from bench.measurement.statement_counts import count_since, log_size, logged
from tests.support.report_page import table
from tests.support.run_description import describe_run

MEASURED_SECONDS = 60.0
_WARM_UP_SECONDS = 15.0
"""Longer than the longest wait of a start: the checks of other processes and of the balance."""


async def measure() -> str:
    """Start a worker without jobs and measure it. Returns Markdown."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with (
            open_bench_deployment(Path(folder), simulator=[]) as deployment,
            Redis.from_url(deployment.servers.redis_url) as redis,
            logged(deployment),
        ):
            ours = DarkroomPipeline()
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
                await asyncio.sleep(MEASURED_SECONDS)
                busy_seconds = cpu_seconds(pid) - busy_seconds
                statements = count_since(deployment, log_start)
                stats = await redis.info("commandstats")
                resident = _resident_mib(pid)
    commands = sum(
        stat["calls"] for name, stat in stats.items() if name != "cmdstat_config|resetstat"
    )
    rows = (
        ("processor time, % of a core", f"{100 * busy_seconds / MEASURED_SECONDS:.2f}", "≤ 1"),
        ("resident memory, MiB", f"{resident:.1f}", "≤ 80"),
        (
            "Redis commands a second, inside scripts too",
            f"{commands / MEASURED_SECONDS:.2f}",
            "≤ 1",
        ),
        ("statements in 5 s", f"{5 * statements / MEASURED_SECONDS:.2f}", "≤ 1"),
    )
    head = describe_run("python -m bench.idle_worker", (load, os.getloadavg()[0]), "none")
    return "\n".join(head) + "\n\n" + table(("an idle worker", "figure", "goal"), rows) + "\n"


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(measure()))
