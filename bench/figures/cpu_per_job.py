"""The figure P1: Darkroom and the bare loop run the same jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures.bare_loop import LoopLoad
from bench.figures.figure_options import FigureOptions
from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.pipelines import (
    BareLoopPipeline,
    DarkroomPipeline,
    PeerPipeline,
    Pipeline,
    PollSchedule,
)
from bench.measurement.run_statistics import Round, Run
from bench.measurement.worker_run import count_statements, measure

SIMULATOR = "worker.simulator"
POLL_SCHEDULE = PollSchedule(first_seconds=2.5, gap_seconds=2.5)
"""When the peers and the bare loop poll: as Kie advises for the first 30 seconds."""
TICKING_POLL_SCHEDULES = {
    "saq": PollSchedule(1.7, 1.8),
    "streaq": PollSchedule(2.2, 2.2),
    "taskiq": PollSchedule(1.1, 1.55),
}
"""The schedules of peers that check once a second (streaQ: twice). Earlier due times make their
polls as late as those of the others."""
_TASK_SECONDS = 8.0
_SIGMA = 0.35
_LONGEST_TASK_SECONDS = 40.0
"""More than 4.5 sigmas above the median, so that the bare loop's last poll finds the end."""


def simulator_options(seed: int) -> list[str]:
    """Return the command line of the simulated Kie: replies at once, tasks end by the clock."""
    options = ["--seed", str(seed), "--create-latency", "0", "--poll-latency", "0"]
    return [*options, "--duration", f"{_TASK_SECONDS:g}", "--sigma", f"{_SIGMA:g}"]


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """The results of all rounds."""

    rounds: list[Round]
    statements: float
    """Statements per job, counted beforehand: Darkroom's, which the bare loop makes as well."""


def peers_of(libraries: Sequence[str]) -> list[PeerPipeline]:
    """Return the tuned pipelines of these libraries, with their poll schedules."""
    return [
        PeerPipeline(library, TICKING_POLL_SCHEDULES.get(library, POLL_SCHEDULE), is_tuned=True)
        for library in libraries
    ]


async def measure_pairs(deployment: BenchDeployment, options: FigureOptions) -> PairedRuns:
    """Run Darkroom and the bare loop, for the processor time per job (P1)."""
    ours = DarkroomPipeline()
    # This also warms up.
    statements = await count_statements(deployment, ours, max(options.jobs // 4, 10))
    rounds: list[Round] = []
    for number in range(options.rounds):
        mine = await _run(deployment, ours, options.jobs, number)
        floor = BareLoopPipeline(load_of(mine, statements))
        rounds.append([mine, await _run(deployment, floor, options.jobs, number)])
    return PairedRuns(rounds, statements)


def load_of(run: Run, statements: float) -> LoopLoad:
    """Return the bare loop with the polls of that run and these statements."""
    return LoopLoad(
        jobs=run.jobs,
        polls=run.polls_per_job,
        statements=statements,
        first_seconds=POLL_SCHEDULE.first_seconds,
        gap_seconds=POLL_SCHEDULE.gap_seconds,
        end_seconds=_LONGEST_TASK_SECONDS,
    )


async def _run(deployment: BenchDeployment, pipeline: Pipeline, jobs: int, number: int) -> Run:
    run = await measure(deployment, pipeline, jobs)
    sys.stderr.write(
        f"round {number + 1}: {run.name}, {jobs} jobs: {run.cpu_ms_per_job:.2f} ms a job,"
        f" {run.jobs_per_second:.0f} jobs/s, {run.polls_per_job:.2f} polls a job, the simulated"
        f" Kie at {100 * run.kie_share:.0f} % of a core\n"
    )
    return run
