"""Is any task ever polled a fourth time within a second? Run `python -m bench.poll_ceiling`.

Five hundred tasks that outlast the run, four worker processes, and everything that asks for polls
at once: an operator who makes random open jobs due now, all the time; early, doubled and forged
callbacks; and `kill -9` of a random worker every few seconds. The simulated Kie counts the
arrivals of each task in every sliding second. It ends when the polls are enough.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from bench.measurement.bench_deployment import ACCOUNT, BenchDeployment, open_bench_deployment
from producer import Order, Producer, TextToImage
from shared.adapters.redis.deliveries import DeliveryQueue, Lane, connect_redis
from tests.support.arguments import positive
from tests.support.ports import port_for_restarts
from tests.support.report_page import rewrite_section
from tests.support.restarted_process import RestartedProcess
from tests.support.run_description import describe_run

BEGIN = "<!-- polls: written by `make poll-ceiling` -->"
END = "<!-- end of polls -->"
LIMIT = 3
_TASK_SECONDS = 3_000.0
_LONGEST_SECONDS = 900.0
_SUBMITTED_SECONDS = 120.0
_HASTENED_AT_ONCE = 100
_HASTEN_PAUSE_SECONDS = 0.05
_CALLBACKS = ("callback_early=0.5", "callback_forged=0.3", "callback_forged_kind=all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. The seed repeats which jobs and workers are chosen, not the order of events."""

    tasks: int = 500
    workers: int = 4
    polls: int = 100_000
    seconds_per_kill: float = 5.0
    seed: int = 2026
    report: Path | None = None

    @property
    def command(self) -> str:
        """The command that repeats the measurement."""
        return (
            f"python -m bench.poll_ceiling --tasks {self.tasks} --workers {self.workers}"
            f" --polls {self.polls} --seconds-per-kill {self.seconds_per_kill:g}"
            f" --seed {self.seed}"
        )


@dataclass(slots=True)
class Pressure:
    """The disturbances of the run."""

    hastened: int = 0
    kills: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """The counters of the simulated Kie."""

    record: dict[str, Any]
    windows: Counter[int]
    """The number of tasks by the most polls in one window."""
    pressure: Pressure
    took_seconds: float
    loads: tuple[float, float]

    @property
    def polls(self) -> int:
        """The number of polls."""
        return int(self.record["polls"]["arrived"])

    @property
    def worst(self) -> int:
        """The most polls of one task in any sliding second."""
        return max(self.windows, default=0)


def main() -> int:
    """Run it. Returns 0 if no task was polled too often and there were enough polls."""
    options = read_command_line(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="polls-", ignore_cleanup_errors=True) as folder:
        finding = asyncio.run(press(options, Path(folder)))
    section = write_section(options, finding)
    sys.stdout.write(f"{section}\n")
    if options.report is not None:
        rewrite_section(options.report, BEGIN, END, section)
    return 0 if finding.worst <= LIMIT and finding.polls >= options.polls else 1


async def press(options: Options, folder: Path) -> Finding:
    """Cause polls until there are enough."""
    load = os.getloadavg()[0]
    simulator = ["--duration", f"{_TASK_SECONDS:g}", "--sigma", "0", "--seed", str(options.seed)]
    simulator += ["--create-latency", "0", "--poll-latency", "0", "--request-log", "1000"]
    for fault in _CALLBACKS:
        simulator += ["--fault", fault]
    rng, pressure = Random(options.seed), Pressure()  # noqa: S311  # no secrets
    async with (
        open_bench_deployment(folder, simulator=simulator) as deployment,
        AsyncExitStack() as stack,
    ):
        job_ids = await _place(deployment, options.tasks)
        workers = await stack.enter_async_context(_workers(deployment, options.workers))
        await _until(deployment, _SUBMITTED_SECONDS, options.tasks, "creates", "created")
        started_at = time.monotonic()
        others = [
            asyncio.create_task(_make_polls_due(deployment, job_ids, rng, pressure)),
            asyncio.create_task(_kill(workers, options.seconds_per_kill, rng, pressure)),
        ]
        stack.callback(lambda: [one.cancel() for one in others])
        await _until(deployment, _LONGEST_SECONDS, options.polls, "polls", "arrived")
        took_seconds = time.monotonic() - started_at
        tasks = await deployment.tasks()
        windows = Counter(int(task["worst_window"]) for task in tasks)
        record = await deployment.record()
    return Finding(record, windows, pressure, took_seconds, (load, os.getloadavg()[0]))


async def _place(deployment: BenchDeployment, tasks: int) -> list[UUID]:
    async with Producer.connect_to(deployment.servers) as producer:
        jobs = await producer.enqueue_many(
            [
                Order(
                    request=TextToImage(prompt=f"task {number}", aspect_ratio="1:1", quantity=1),
                    account_id=ACCOUNT,
                )
                for number in range(tasks)
            ]
        )
    return [job.id for job in jobs]


@asynccontextmanager
async def _workers(
    deployment: BenchDeployment, count: int
) -> AsyncIterator[list[RestartedProcess]]:
    """Keep so many workers running during the block. The first receives the callbacks."""
    port = port_for_restarts()
    environ = {
        **deployment.environ,
        "KIE_SUBMITS_PER_10_SECONDS": "0",
        "KIE_CALLBACK_URL": f"http://127.0.0.1:{port}",
        "WORKER_HTTP_PORT": "0",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "json",
    }
    workers = [
        RestartedProcess(
            f"worker {number}",
            (sys.executable, "-m", "worker"),
            {**environ, "WORKER_HTTP_PORT": str(port)} if number == 0 else environ,
            started_word="worker_started",
            folder=deployment.folder,
        )
        for number in range(count)
    ]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield workers
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers))
        await asyncio.gather(*running, return_exceptions=True)


async def _kill(
    workers: Sequence[RestartedProcess], every_seconds: float, rng: Random, pressure: Pressure
) -> None:
    """Kill a random worker, again and again, while at least one other is up."""
    while True:
        await asyncio.sleep(every_seconds)
        up = [worker for worker in workers if worker.is_up]
        if len(up) > 1:
            rng.choice(up).kill()
            pressure.kills += 1


async def _until(deployment: BenchDeployment, seconds: float, enough: int, *path: str) -> None:
    """Wait for a counter of the simulated Kie. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        record: Any = await deployment.record()
        for word in path:
            record = record[word]
        if record >= enough:
            return
        if time.monotonic() > deadline:
            if path == ("polls", "arrived"):
                return
            raise TimeoutError(f"{record} of {enough} {path} after {seconds:.0f} s")
        await asyncio.sleep(0.5)


async def _make_polls_due(
    deployment: BenchDeployment, job_ids: Sequence[UUID], rng: Random, pressure: Pressure
) -> None:
    """Make random jobs due now, as an operator's refresh and callbacks do."""
    async with connect_redis(deployment.servers.redis_url) as redis:
        delivery_queue = DeliveryQueue(redis)
        while True:
            some = rng.sample(job_ids, min(_HASTENED_AT_ONCE, len(job_ids)))
            await asyncio.gather(*(delivery_queue.make_due_now(one, Lane.POLL) for one in some))
            pressure.hastened += len(some)
            await asyncio.sleep(_HASTEN_PAUSE_SECONDS)


def write_section(options: Options, finding: Finding) -> str:
    """Return the section as Markdown."""
    return "\n".join(_lines(options, finding))


def _lines(options: Options, finding: Finding) -> Iterator[str]:
    word = "kept" if finding.worst <= LIMIT else "BROKEN"
    done, pressure = finding.record["callbacks"]["answers"], finding.pressure
    yield "## Polls of one task"
    yield ""
    yield (
        f"**{finding.polls:,} polls of {sum(finding.windows.values())} tasks: at most"
        f" {finding.worst} of one task in any sliding second. Kie's limit of {LIMIT} is {word}.**"
    )
    yield ""
    facts = list(describe_run(options.command, finding.loads, ""))
    yield from facts[:-1]  # the last one names peers, of whom there are none
    yield (
        f"- pressure: {options.workers} workers, {pressure.kills} of them killed by `kill -9`;"
        f" {pressure.hastened:,} refreshes of random open jobs;"
        f" {sum(sum(one.values()) for one in done.values()):,} callbacks, early and forged"
    )
    yield (
        f"- it took {finding.took_seconds:.0f} s: {finding.polls / finding.took_seconds:,.0f}"
        " polls a second in all"
    )
    yield ""
    yield "| most polls in any sliding second | tasks |"
    yield "|--:|--:|"
    for window, tasks in sorted(finding.windows.items()):
        yield f"| {window} | {tasks} |"
    yield ""
    yield "The simulated Kie counts at the arrival of each request, by its own clock, on the same"
    yield "machine: the network between the workers and Kie is loopback."


def read_command_line(arguments: Sequence[str]) -> Options:
    """Parse the arguments. Raises SystemExit if they are invalid."""
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="python -m bench.poll_ceiling",
        description="Counts how often one task is polled in any sliding second, under pressure.",
        allow_abbrev=False,
    )
    parser.add_argument("--tasks", type=positive, default=defaults.tasks)
    parser.add_argument("--workers", type=positive, default=defaults.workers)
    parser.add_argument("--polls", type=positive, default=defaults.polls)
    parser.add_argument("--seconds-per-kill", type=float, default=defaults.seconds_per_kill)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--report", type=Path, help="rewrite the section of this page")
    given = parser.parse_args(arguments)
    return Options(
        tasks=given.tasks,
        workers=given.workers,
        polls=given.polls,
        seconds_per_kill=given.seconds_per_kill,
        seed=given.seed,
        report=given.report,
    )


if __name__ == "__main__":
    sys.exit(main())
