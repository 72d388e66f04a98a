"""Offers jobs to one worker at a constant rate, and decides whether it sustains the rate.

A rate is sustained if all jobs end, 95 % of them are submitted within 5 s after they were placed,
and 95 % are settled within 5 s after their task's end. 5 s are two poll intervals of Kie's advice.
The submit delay of the k-th job is the time from the k-th placed job to the k-th created task. The
settlement lag uses the record of the simulated Kie.

Jobs of the first five seconds are not measured, because a new worker does everything for the first
time. If jobs are placed late, the trial has no outcome.
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
from bench.measurement.statement_counts import connect_unlogged
from bench.measurement.worker_run import read_lags, wait_until_all_ended
from tests.support.percentiles import percentile

LATE_SECONDS = 5.0
COLD_SECONDS = 5.0
DRAIN_SECONDS = 45.0
"""The time for jobs to end after the last one was placed."""
_PLACED_LATE_SECONDS = 1.0
_LOOK_SECONDS = 0.5
"""A query of open jobs reads all of them, so it must be rare during a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rate offered to one worker of one pipeline."""

    name: str
    rate: int
    jobs: int
    outcome: Outcome
    cpu_seconds: float
    """The worker's CPU time until the last job had ended, or the time limit."""
    polls: int
    kie_share: float
    """The simulated Kie's share of one core while jobs were offered."""
    worker_share: float
    """The worker's share of one core in the last quarter of the offering, when jobs are placed,
    polled and settled at the same time."""
    lags: tuple[float, ...]
    """Seconds from the end of a task at Kie to the settlement of its job."""
    submit_delays: tuple[float, ...]
    """Seconds from the k-th placed job to the k-th created task."""

    @property
    def tried(self) -> Tried:
        """The data for choosing the next rate."""
        return Tried(
            self.rate, self.outcome, guess_rate(self.rate, self.worker_share, self.outcome)
        )

    @property
    def cpu_ms_per_job(self) -> float:
        """The worker's CPU time per job, in milliseconds."""
        return 1000 * self.cpu_seconds / self.jobs

    @property
    def polls_per_job(self) -> float:
        """The number of polls."""
        return self.polls / self.jobs


async def try_rate(
    deployment: BenchDeployment,
    pipeline: DarkroomPipeline | PeerPipeline,
    rate: int,
    seconds: float,
) -> Trial:
    """Offer jobs at this rate to a new worker, and return the trial."""
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
            # Wait: open jobs would be work for the worker of the next trial.
            await wait_until_all_ended(deployment, pipeline, look_seconds=_LOOK_SECONDS)
    delays = delays_between(placed, created, since=begun)
    return Trial(
        name=pipeline.name,
        rate=rate,
        jobs=jobs,
        outcome=outcome_of(lateness_of(placed, rate), delays, lags, all_ended=all_ended),
        cpu_seconds=worker,
        polls=record["polls"]["arrived"],
        kie_share=kie_share,
        worker_share=worker_share,
        lags=lags,
        submit_delays=delays,
    )


def outcome_of(
    lateness: Sequence[float],
    submit_delays: Sequence[float],
    lags: Sequence[float],
    *,
    all_ended: bool,
) -> Outcome:
    """Return the outcome, from the delays of placing, submitting and settling jobs."""
    if percentile(lateness, 95) > _PLACED_LATE_SECONDS:
        return Outcome.NOT_OFFERED
    is_prompt = all(percentile(late, 95) <= LATE_SECONDS for late in (submit_delays, lags))
    return Outcome.CARRIED if all_ended and is_prompt else Outcome.NOT_CARRIED


def lateness_of(placed: Sequence[float], rate: int) -> tuple[float, ...]:
    """Return the delay of placing each job in seconds. The first one is on time."""
    return tuple(moment - (placed[0] + number / rate) for number, moment in enumerate(placed))


def delays_between(
    placed: Sequence[float], created: Sequence[float], *, since: float
) -> tuple[float, ...]:
    """Return the times from the k-th placed job to the k-th created task (both sorted).

    Jobs placed before `since` are skipped. The delay of a job without a task is infinite.
    """
    lacking = [math.inf] * (len(placed) - len(created))
    pairs = zip(placed, [*created, *lacking], strict=False)
    return tuple(later - moment for moment, later in pairs if moment >= since)


async def _share_at_last(pid: int, seconds: float) -> float:
    """Return the share of one core that a process uses in the last quarter of the seconds."""
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
    """Return the times of placed jobs and created tasks, sorted (epoch seconds)."""
    tasks, connection = await asyncio.gather(deployment.tasks(), connect_unlogged(deployment))
    try:
        placed = await pipeline.placed(connection, since)
    finally:
        await connection.close()
    return sorted(placed), sorted(task["created_at"] for task in tasks)
