"""Offers jobs to one worker at a rate, evenly, and judges whether it carries that rate.

A rate is carried when all jobs end, and 95 % of them are submitted within 5 s of being placed and
settled within 5 s of their task's end: two of the poll gaps that Kie advises. Neither needs to know
which job is which: the submit delay is the horizontal distance between the curve of jobs placed and
the curve of tasks created, the lag is taken by the simulated Kie's own record.

Jobs of the first five seconds are left out of both, because a new worker does everything for the
first time. Where whoever places the jobs is late itself, nothing is said of the worker.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.figures.rate_search import Outcome, Tried, guess_rate
from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.measured_process import cpu_seconds, running
from bench.measurement.pipelines import DarkroomPipeline, PeerPipeline, log_folder
from bench.measurement.run_statistics import percentile
from bench.measurement.statement_counts import connect_unlogged
from bench.measurement.worker_run import read_lags, wait_until_all_ended

LATE_SECONDS = 5.0
COLD_SECONDS = 5.0
DRAIN_SECONDS = 45.0
"""After the offering: longer than the longest task, and the delays that are allowed."""
_PLACED_LATE_SECONDS = 1.0
_LOOK_SECONDS = 0.5
"""Looking for open jobs reads all of them, so it must be seldom beside a busy worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rate, offered to one worker of one contestant."""

    name: str
    rate: int
    jobs: int
    outcome: Outcome
    cpu_seconds: float
    """Processor time of the worker until the last job had ended, or patience did."""
    polls: int
    kie_share: float
    """Share of one core that the simulated Kie took while jobs were offered."""
    worker_share: float
    """Share of one core that the worker took in the last quarter of the offering, when jobs are
    placed, polled and settled all at once."""
    lags: tuple[float, ...]
    """Seconds from the end of a task at Kie until its job was settled."""
    submit_delays: tuple[float, ...]
    """Seconds from the k-th job's being placed until the k-th task was created."""

    @property
    def tried(self) -> Tried:
        """What the choice of the next rate needs to know."""
        return Tried(
            self.rate, self.outcome, guess_rate(self.rate, self.worker_share, self.outcome)
        )

    @property
    def cpu_ms_per_job(self) -> float:
        """Processor time of the worker per job, in milliseconds."""
        return 1000 * self.cpu_seconds / self.jobs

    @property
    def polls_per_job(self) -> float:
        """How often it asked about a task."""
        return self.polls / self.jobs


async def try_rate(
    deployment: BenchDeployment,
    pipeline: DarkroomPipeline | PeerPipeline,
    rate: int,
    seconds: float,
) -> Trial:
    """Offer so many jobs per second for so many seconds to a new worker, and judge it."""
    await deployment.start_over()
    jobs = round(rate * seconds)
    program = pipeline.worker(deployment)
    folder = log_folder(deployment, pipeline.name)
    async with running(
        program.arguments, program.environ, folder=folder, ready=program.ready
    ) as pid:
        since, worker, kie = time.time(), cpu_seconds(pid), cpu_seconds(deployment.kie_pid)
        _, worker_share = await asyncio.gather(
            pipeline.place_over(deployment, jobs, seconds), _share_at_last(pid, seconds)
        )
        kie_share = (cpu_seconds(deployment.kie_pid) - kie) / (time.time() - since)
        all_ended = await _have_all_ended(deployment, pipeline)
        worker = cpu_seconds(pid) - worker
        record = await deployment.record()
        placed, created = await _read_curves(deployment, pipeline, since)
        begun = placed[0] + COLD_SECONDS
        lags = await read_lags(deployment, pipeline, created_since=begun)
        if not all_ended and isinstance(pipeline, DarkroomPipeline):
            # Its books stay: what is left over would be work for the worker of the next trial.
            await wait_until_all_ended(deployment, pipeline, look_seconds=_LOOK_SECONDS)
    delays = delays_between(placed, created, since=begun)
    return Trial(
        name=pipeline.name,
        rate=rate,
        jobs=jobs,
        outcome=judge(lateness_of(placed, rate), delays, lags, all_ended=all_ended),
        cpu_seconds=worker,
        polls=record["polls"]["arrived"],
        kie_share=kie_share,
        worker_share=worker_share,
        lags=lags,
        submit_delays=delays,
    )


def judge(
    lateness: Sequence[float],
    submit_delays: Sequence[float],
    lags: Sequence[float],
    *,
    all_ended: bool,
) -> Outcome:
    """Tell whether the rate was carried, from how late jobs were placed, submitted and settled."""
    if percentile(lateness, 95) > _PLACED_LATE_SECONDS:
        return Outcome.NOT_OFFERED
    is_prompt = all(percentile(late, 95) <= LATE_SECONDS for late in (submit_delays, lags))
    return Outcome.CARRIED if all_ended and is_prompt else Outcome.NOT_CARRIED


def lateness_of(placed: Sequence[float], rate: int) -> tuple[float, ...]:
    """Return how many seconds later than its turn each job was placed, the first being on time."""
    return tuple(moment - (placed[0] + number / rate) for number, moment in enumerate(placed))


def delays_between(
    placed: Sequence[float], created: Sequence[float], *, since: float
) -> tuple[float, ...]:
    """Return the horizontal distances between the two curves (both in order, epoch), in seconds.

    Jobs placed before `since` are left out. A job whose task lacks is late without end.
    """
    lacking = [math.inf] * (len(placed) - len(created))
    pairs = zip(placed, [*created, *lacking], strict=False)
    return tuple(later - moment for moment, later in pairs if moment >= since)


async def _share_at_last(pid: int, seconds: float) -> float:
    """Return the share of one core that a process takes in the last quarter of the seconds."""
    await asyncio.sleep(0.75 * seconds)
    before, started_at = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(0.25 * seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started_at)


async def _have_all_ended(
    deployment: BenchDeployment, pipeline: DarkroomPipeline | PeerPipeline
) -> bool:
    with suppress(TimeoutError):
        await wait_until_all_ended(
            deployment, pipeline, within_seconds=DRAIN_SECONDS, look_seconds=_LOOK_SECONDS
        )
        return True
    return False


async def _read_curves(
    deployment: BenchDeployment, pipeline: DarkroomPipeline | PeerPipeline, since: float
) -> tuple[list[float], list[float]]:
    """Return when jobs were placed, and when tasks were created, each in order (epoch)."""
    tasks, connection = await asyncio.gather(deployment.tasks(), connect_unlogged(deployment))
    try:
        placed = await pipeline.placed(connection, since)
    finally:
        await connection.close()
    return sorted(placed), sorted(task["created_at"] for task in tasks)
