"""The figure P3a: the time from a task's end at Kie to its job's settlement, with callbacks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.measured_process import cpu_seconds, running
from bench.measurement.pipelines import (
    DarkroomPipeline,
    Program,
    log_folder,
    order_of,
    place_evenly,
)
from bench.measurement.statement_counts import connect_unlogged
from bench.measurement.worker_run import read_lags, wait_until_all_ended
from producer import Producer
from tests.support.percentiles import percentile

RATES = (20, 100)
"""The rates in jobs per second. Each rate is a separate run."""
OFFERED_SECONDS = 15.0
_WARM_UP_JOBS = 60


@dataclass(frozen=True, slots=True)
class CallbackRun:
    """One run at one rate."""

    rate: int
    lags: tuple[float, ...]
    """Seconds from the end of each task, by the simulated Kie's record, until `finished_at`."""
    polls: int
    callbacks: int
    """Sent by the simulated Kie."""
    hastened: int
    """Callbacks that caused a poll. The others arrived after a poll had found the end."""
    worker_share: float
    """The worker's share of one core while jobs were offered."""

    @property
    def jobs(self) -> int:
        """The number of settled jobs."""
        return len(self.lags)


@dataclass(frozen=True, slots=True)
class CallbackLag:
    """All runs at one rate together; times in milliseconds."""

    rate: int
    jobs: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    worst_p99_ms: float
    """The highest p99 of a single run."""
    polls_per_job: float
    callbacks_per_job: float
    hastened_per_job: float
    worker_share: float


async def measure_callbacks(deployment: BenchDeployment, rounds: int) -> list[CallbackRun]:
    """Offer jobs at each rate to one worker, once per round."""
    found = []
    for _ in range(rounds):
        for rate in RATES:
            found.append(await _offer(deployment, rate))
            lag = lag_of(found[-1:])
            sys.stderr.write(
                f"callbacks at {rate} jobs/s: p50 {lag.p50_ms:.0f} ms, p99 {lag.p99_ms:.0f} ms,"
                f" {lag.polls_per_job:.2f} polls a job\n"
            )
    return found


def lag_of(runs: Sequence[CallbackRun]) -> CallbackLag:
    """Return the figures of runs at one rate, of which there is at least one."""
    lags = list(chain.from_iterable(run.lags for run in runs))
    jobs = len(lags)
    return CallbackLag(
        rate=runs[0].rate,
        jobs=jobs,
        p50_ms=1000 * percentile(lags, 50),
        p95_ms=1000 * percentile(lags, 95),
        p99_ms=1000 * percentile(lags, 99),
        worst_p99_ms=1000 * max(percentile(run.lags, 99) for run in runs),
        polls_per_job=sum(run.polls for run in runs) / max(jobs, 1),
        callbacks_per_job=sum(run.callbacks for run in runs) / max(jobs, 1),
        hastened_per_job=sum(run.hastened for run in runs) / max(jobs, 1),
        worker_share=sum(run.worker_share for run in runs) / len(runs),
    )


async def _offer(deployment: BenchDeployment, rate: int) -> CallbackRun:
    await deployment.start_over()
    ours = DarkroomPipeline()
    program = with_callbacks(ours.worker(deployment))
    folder = log_folder(deployment, f"callbacks {rate}")
    async with (
        running(program.arguments, program.environ, folder=folder, ready=program.ready) as pid,
        Producer.connect_to(deployment.servers) as producer,
    ):
        # A new worker does not trust callbacks yet, and everything is done for the first time.
        await producer.enqueue_many([order_of(number) for number in range(_WARM_UP_JOBS)])
        await wait_until_all_ended(deployment, ours)
        await deployment.start_over()
        await _forget_callbacks(deployment)
        before = cpu_seconds(pid)
        await place_evenly(producer, int(rate * OFFERED_SECONDS), OFFERED_SECONDS)
        worker = cpu_seconds(pid) - before
        await wait_until_all_ended(deployment, ours)
    record = await deployment.record()
    return CallbackRun(
        rate=rate,
        lags=await read_lags(deployment, ours),
        polls=record["polls"]["arrived"],
        callbacks=record["callbacks"]["sent"],
        hastened=await _count_hastened(deployment),
        worker_share=worker / OFFERED_SECONDS,
    )


def with_callbacks(program: Program) -> Program:
    """Return the worker with its own HTTP port as the address that Kie calls back."""
    port = program.environ["WORKER_HTTP_PORT"]
    environ = {**program.environ, "KIE_CALLBACK_URL": f"http://127.0.0.1:{port}"}
    return replace(program, environ=environ)


async def _forget_callbacks(deployment: BenchDeployment) -> None:
    connection = await connect_unlogged(deployment)
    try:
        await connection.execute("TRUNCATE callback_inbox")
    finally:
        await connection.close()


async def _count_hastened(deployment: BenchDeployment) -> int:
    connection = await connect_unlogged(deployment)
    try:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM callback_inbox WHERE verdict = 'hastened'"
            )
        )
    finally:
        await connection.close()
