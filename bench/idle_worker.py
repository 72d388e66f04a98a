"""`python -m bench.idle_worker`: the cost of an idle worker.

Prints processor time, memory, and what the worker asks of Redis and Postgres, over one minute. With
`--paused-jobs`, so many jobs wait meanwhile, all of them paused. With `--jobs`, so many single jobs
are placed afterwards, and how long each takes from there to the simulated Kie is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from bench.measurement.bench_deployment import (
    ACCOUNT,
    BenchDeployment,
    open_bench_deployment,
)
from bench.measurement.measured_process import cpu_seconds, running
from bench.measurement.pipelines import DarkroomPipeline, log_folder, order_of
from bench.measurement.statement_counts import log_size, logged, statements_since
from producer import Producer
from tests.support.arguments import positive, seconds_up_to
from tests.support.percentiles import percentile
from tests.support.redis_commands import RedisCommands, counted_redis_commands
from tests.support.report_page import table
from tests.support.run_description import describe_run

_WARM_UP_SECONDS = 75.0
"""Longer than a start takes: the checks of other processes, of models and of balances."""
_SHORT_TASKS = ("--duration", "0.5", "--sigma", "0", "--seed", "1")
_LATEST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured."""

    seconds: float
    paused_jobs: int
    jobs: int
    """How many single jobs are placed afterwards."""
    gap_seconds: float
    """How long the worker is idle before each of them."""

    @property
    def command(self) -> str:
        """The command that measures so."""
        command = f"python -m bench.idle_worker --seconds {self.seconds:g}"
        command += f" --paused-jobs {self.paused_jobs}" if self.paused_jobs else ""
        return command + (f" --jobs {self.jobs} --gap {self.gap_seconds:g}" if self.jobs else "")


@dataclass(slots=True)
class Measured:
    """What an idle worker used and asked, and how soon single jobs started."""

    busy_seconds: float = 0.0
    resident_mib: float = 0.0
    commands: RedisCommands = field(default_factory=RedisCommands)
    statements: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


async def measure(options: Options) -> str:
    """Start a worker that has nothing to submit and measure it. Returns Markdown."""
    load = os.getloadavg()[0]
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with (
            open_bench_deployment(Path(folder), simulator=_SHORT_TASKS) as deployment,
            logged(deployment),
        ):
            ours = DarkroomPipeline()
            if options.paused_jobs:
                await _enqueue_paused(deployment, ours, options.paused_jobs)
            program = ours.worker(deployment)
            async with running(
                program.arguments,
                program.environ,
                folder=log_folder(deployment, "idle"),
                ready=program.ready,
            ) as pid:
                await asyncio.sleep(_WARM_UP_SECONDS)
                await _watch(deployment, pid, options.seconds, measured)
                measured.waits = await _place_single_jobs(deployment, options)
    head = describe_run(options.command, (load, os.getloadavg()[0]), "none")
    return "\n".join((*head, "", *_report(options, measured), ""))


async def _watch(deployment: BenchDeployment, pid: int, seconds: float, measured: Measured) -> None:
    """Watch the process for so long."""
    async with Redis.from_url(deployment.servers.redis_url) as redis:
        busy_before, log_start = cpu_seconds(pid), log_size(deployment)
        async with counted_redis_commands(redis) as measured.commands:
            await asyncio.sleep(seconds)
    measured.busy_seconds = cpu_seconds(pid) - busy_before
    measured.statements = statements_since(deployment, log_start)
    measured.resident_mib = _resident_mib(pid)


def _report(options: Options, measured: Measured) -> list[str]:
    per_second = 1 / options.seconds
    commands, statements = measured.commands, measured.statements
    rows = [
        ("processor time, % of a core", f"{100 * measured.busy_seconds * per_second:.2f}", "≤ 1"),
        ("resident memory, MiB", f"{measured.resident_mib:.1f}", "≤ 80"),
        ("Redis commands a second", f"{commands.sent.total() * per_second:.2f}", "≤ 1"),
        ("and inside scripts", f"{commands.in_scripts * per_second:.2f}", ""),
        ("statements in 5 s", f"{5 * len(statements) * per_second:.2f}", "≤ 1"),
    ]
    if measured.waits:
        what = f"start of a job, ms, {len(measured.waits)} jobs {options.gap_seconds:g} s apart"
        rows += [
            (f"{what}, p{percent}", f"{1000 * percentile(measured.waits, percent):.0f}", goal)
            for percent, goal in ((50, ""), (95, "≤ 100"))
        ]
    asked = (commands.sent + Counter(statements)).most_common()
    return [
        table((_worker_text(options.paused_jobs), "figure", "goal"), rows),
        "",
        table(("asked of Redis and Postgres", "times"), ((f"`{a}`", str(n)) for a, n in asked)),
    ]


def _worker_text(paused_jobs: int) -> str:
    return f"a worker beside {paused_jobs:,} paused jobs" if paused_jobs else "an idle worker"


async def _place_single_jobs(deployment: BenchDeployment, options: Options) -> list[float]:
    """Place jobs one by one. Returns the seconds from placing each until Kie received it."""
    placed: list[float] = []
    async with Producer.connect_to(deployment.servers) as producer:
        for number in range(options.jobs):
            await asyncio.sleep(options.gap_seconds)
            placed.append(time.time())
            await producer.enqueue_many([order_of(number)])
    if placed:
        await asyncio.sleep(_LATEST_SECONDS)
    received = sorted(task["created_at"] for task in await deployment.tasks())
    return [at - began for began, at in zip(placed, received, strict=True)]


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
    parser.add_argument("--jobs", type=positive, default=0, help="single jobs afterwards")
    parser.add_argument("--gap", type=seconds_up_to(600), default=10.0, help="before each of them")
    given = parser.parse_args()
    options = Options(given.seconds, given.paused_jobs, given.jobs, given.gap)
    sys.stdout.write(asyncio.run(measure(options)))
