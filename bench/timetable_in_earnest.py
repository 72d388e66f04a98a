"""`python -m bench.timetable_in_earnest`: P3b with a real worker, to check the simulation by.

One worker and the simulated Kie, by the clock: four minutes. The worker knows a few hundred
completion times beforehand, as one does that has been running. Kie's advice, and Darkroom's
timetable in simulation, go through the very times that the tasks have taken.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from bench.measurement.bench_deployment import BenchDeployment, open_bench_deployment
from bench.measurement.measured_process import end_on_sigterm, running
from bench.measurement.pipelines import DarkroomPipeline, log_folder, place_evenly
from bench.measurement.statement_counts import connect_unlogged
from bench.measurement.worker_run import read_lags, wait_until_all_ended
from bench.polling.poll_simulation import (
    ROUND_TRIP_SECONDS,
    DurationModel,
    KieAdvicePolicy,
    Learned,
    PollPolicy,
    SimulatedTask,
    figures_of,
    simulate,
)
from producer import Producer
from tests.support.report_page import table
from tests.support.run_description import describe_run
from worker.poll_timing import WINDOW_LENGTH
from worker.poll_timing.optimal_plan import POLL_COST_IN_LAG_SECONDS
from worker.simulator import Durations
from worker.simulator.durations import DISTRIBUTIONS

JOBS = 400
JOBS_PER_SECOND = 4.0
_HEAD = ("timetable", "tasks", "polls", "p50 s", "p95 s", "polls ÷", "p95 ÷")
_QUANTITIES = (1, 2, 4)


def main() -> int:
    """Measure and print; 0 always, figures fail nothing."""
    options = _read_command_line(sys.argv[1:])
    sys.stdout.write(asyncio.run(_measure(options)))
    return 0


def _read_command_line(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m bench.timetable_in_earnest", description=__doc__)
    parser.add_argument("--distribution", choices=DISTRIBUTIONS, default=DISTRIBUTIONS[0])
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


async def _measure(options: Namespace) -> str:
    end_on_sigterm()
    load = os.getloadavg()[0]
    known = draw_times(options.distribution, options.seed + 1, WINDOW_LENGTH)
    latency = ["--poll-latency", f"{ROUND_TRIP_SECONDS:g}", "--latency-jitter", "0"]
    simulator = ["--seed", str(options.seed), "--create-latency", "0", *latency]
    simulator += ["--distribution", options.distribution]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with open_bench_deployment(Path(folder), simulator=simulator) as deployment:
            taken, found = await _run(deployment, options.jobs, known)
    command = (
        f"python -m bench.timetable_in_earnest --distribution {options.distribution}"
        f" --jobs {options.jobs} --seed {options.seed}"
    )
    head = describe_run(command, (load, os.getloadavg()[0]), "none")
    rows = compare(taken, found, known, options.seed)
    return "\n".join(head) + "\n\n" + table(_HEAD, rows) + "\n"


def draw_times(distribution: str, seed: int, count: int) -> list[float]:
    """Return so many completion times, as the simulated Kie draws them."""
    randomness = Random(seed)  # noqa: S311
    durations = Durations(distribution)
    return [durations.draw(randomness) for _ in range(count)]


async def _run(
    deployment: BenchDeployment, jobs: int, known: Sequence[float]
) -> tuple[list[float], list[SimulatedTask]]:
    """Return the time that each task took, and how seldom and how late all were found."""
    ours = DarkroomPipeline()
    await _teach(deployment, known)
    program = ours.worker(deployment)
    folder = log_folder(deployment, "timetable")
    async with (
        running(program.arguments, program.environ, folder=folder, ready=program.ready),
        Producer.connect_to(deployment.servers) as producer,
    ):
        await place_evenly(producer, jobs, jobs / JOBS_PER_SECOND)
        await wait_until_all_ended(deployment, ours)
    tasks = await deployment.tasks()
    taken = [task["finished_at"] - task["created_at"] for task in tasks]
    polls = (await deployment.record())["polls"]["arrived"]
    lags = await read_lags(deployment, ours)
    # The record counts all polls together: the mean is all that is made of them.
    share = polls // len(lags)
    more = polls - share * len(lags)
    return taken, [SimulatedTask(share + (number < more), lag) for number, lag in enumerate(lags)]


async def _teach(deployment: BenchDeployment, known: Sequence[float]) -> None:
    connection = await connect_unlogged(deployment)
    try:
        await connection.executemany(
            "INSERT INTO completion_times (model, task, quantity, seconds)"
            " VALUES ('gpt-4o-image', 'text-to-image', $1, $2)",
            [(quantity, seconds) for quantity in _QUANTITIES for seconds in known],
        )
    finally:
        await connection.close()


def compare(
    taken: Sequence[float], found: Sequence[SimulatedTask], known: Sequence[float], seed: int
) -> Iterable[Sequence[str]]:
    """Yield a row for Kie's advice and for ours, in simulation and in earnest."""

    def simulated(policy: PollPolicy) -> list[SimulatedTask]:
        times = iter([*known, *taken])
        world = DurationModel("as taken", lambda random, gone: next(times))
        return simulate(world, policy, len(known) + len(taken), seed)[len(known) :]

    advice = simulated(KieAdvicePolicy())
    yield _row("Kie's advice, simulated", advice, advice)
    learned = simulated(Learned(seed, POLL_COST_IN_LAG_SECONDS))
    yield _row("learned, simulated", learned, advice)
    yield _row("learned, a worker", found, advice)


def _row(
    name: str, found: Sequence[SimulatedTask], advice: Sequence[SimulatedTask]
) -> Sequence[str]:
    ours, theirs = figures_of(found), figures_of(advice)
    figures = (ours.polls, ours.p50_seconds, ours.p95_seconds)
    ratios = (ours.polls / theirs.polls, ours.p95_seconds / theirs.p95_seconds)
    return name, str(len(found)), *(f"{one:.2f}" for one in (*figures, *ratios))


if __name__ == "__main__":
    sys.exit(main())
