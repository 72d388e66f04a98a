"""The figure P4: how many tasks one worker process on one core polls on time.

The worker has a core of its own; all else (Postgres, Valkey, the simulated Kie, who places the
jobs) has the rest. Jobs are placed evenly until as many are in flight as wanted, and then whenever
some have ended. The worker itself notes for each poll how long after its due time it sends it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import exp
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import asyncpg
from redis.asyncio import Redis

from bench.measurement.bench_deployment import BenchDeployment, open_bench_deployment
from bench.measurement.cpu_cores import busy_seconds, memory_mb, one_core_set_aside, put_on_core
from bench.measurement.measured_process import cpu_seconds, running
from bench.measurement.pipelines import DarkroomPipeline, log_folder, order_of
from bench.peers.peer_tables import QUANTITIES
from bench.scaling.poll_lateness import Lateness, read_lateness
from producer import Producer
from shared.adapters.postgres.database import connect_database
from shared.adapters.redis.deliveries import Lane, local_now_ms
from worker.poll_timing import WINDOW_LENGTH
from worker.simulator import Durations

ON_TIME_SECONDS = 0.25
ON_TIME_SHARE = 0.99
FULL_SHARE = 0.95
"""The share of the planned tasks that must be in flight at every reading."""
SIGMA = 0.4
_FILL_TASKS = 1.25
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one worker."""

    tasks: int
    task_seconds: float
    """The median task time of a lognormal distribution."""
    watch_seconds: float
    seed: int

    @property
    def fill_seconds(self) -> float:
        """How long jobs are placed at the pace at which they will end, before the rest is added.

        Longer than most tasks take: so young, old and ageing tasks are in flight in the shares in
        which they always will be, and with them the polls.
        """
        return _FILL_TASKS * self.task_seconds

    @property
    def jobs_per_second(self) -> float:
        """The rate at which as many tasks end as begin."""
        return self.tasks / (self.task_seconds * exp(SIGMA**2 / 2))


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The results of one load while all its tasks were in flight."""

    load: Load
    fewest: int
    """The fewest tasks in flight at any reading."""
    usual: float
    seconds: float
    ended: int
    lateness: Lateness
    unsent: int
    """Unsent polls that were overdue by more than 250 ms at the end of the measurement."""
    arrived: int
    """Polls that the simulated Kie counted."""
    worker_share: float
    """The share of one core, as in the next two fields."""
    kie_share: float
    valkey_share: float
    busy_cores: float
    """The whole machine."""
    peak_mb: float

    @property
    def on_time(self) -> float:
        """The share of due polls that were sent within 250 ms of their due time."""
        return self.lateness.share_within(ON_TIME_SECONDS, self.unsent)

    @property
    def is_carried(self) -> bool:
        """Return whether the load was in flight, and 99 of 100 polls were on time."""
        is_full = self.fewest >= FULL_SHARE * self.load.tasks
        return is_full and self.on_time >= ON_TIME_SHARE


@dataclass(frozen=True, slots=True)
class _Counts:
    """The values that are read at the begin and the end of the measurement."""

    at: float
    lateness: Lateness
    arrived: int
    ended: int
    worker: float
    kie: float
    valkey: float
    busy: float


async def measure_tasks_in_flight(load: Load) -> LoadResult:
    """Run the load on a new worker in a new deployment."""
    options = ["--seed", str(load.seed), "--duration", f"{load.task_seconds:g}"]
    options += ["--sigma", f"{SIGMA:g}", "--request-log", "1000"]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, one_core_set_aside() as core:
        async with open_bench_deployment(Path(folder), simulator=options) as deployment:
            await _store_completion_times(deployment, load)
            program = DarkroomPipeline().worker(deployment)
            log = log_folder(deployment, "worker")
            async with (
                running(program.arguments, program.environ, folder=log, ready=program.ready) as pid,
                _watching(deployment, pid, program.ready.replace("/healthz", "/metrics")) as watch,
            ):
                put_on_core(pid, core)
                flight = await _run_load(watch, load)
    sys.stderr.write(
        f"{load.tasks} tasks: {100 * flight.on_time:.2f} % on time, {flight.lateness.count} polls"
        f" in {flight.seconds:.0f} s, worker {100 * flight.worker_share:.0f} % of a core,"
        f" {flight.peak_mb:.0f} MB, simulated Kie {100 * flight.kie_share:.0f} %\n"
    )
    return flight


async def _store_completion_times(deployment: BenchDeployment, load: Load) -> None:
    """Store completion times as after a day of work, so that the timetable has experience."""
    rng = Random(load.seed)  # noqa: S311  # no secrets
    durations = Durations(median_seconds=load.task_seconds, sigma=SIGMA)
    rows = [
        ("gpt-4o-image", "text-to-image", quantity, durations.draw(rng))
        for quantity in QUANTITIES
        for _ in range(WINDOW_LENGTH)
    ]
    async with connect_database(deployment.servers.database_url) as database:
        columns = map(list, zip(*rows, strict=True))
        await database.fetch("record_completion_times", *columns, WINDOW_LENGTH)


class _Watch:
    """Places jobs and reads counts."""

    def __init__(
        self, deployment: BenchDeployment, pid: int, metrics_url: str, redis: Redis, postgres: Any
    ) -> None:
        self._house = deployment
        self._metrics_url = metrics_url
        self._redis = redis
        self._postgres = postgres
        self._placed = 0
        self.pid = pid
        self.valkey_pid = 0

    async def place_until(self, producer: Producer, placed: int) -> None:
        """Place jobs until that many have been placed in total."""
        if placed > self._placed:
            numbers = range(self._placed, placed)
            await producer.enqueue_many([order_of(number) for number in numbers])
            self._placed = placed

    async def keep_open(self, producer: Producer, most: int) -> int:
        """Place jobs until `most` are open. Return the number in flight."""
        row = await self._postgres.fetchrow(
            "SELECT count(*) AS open, count(*) FILTER (WHERE state = 'generating') AS flying"
            "  FROM jobs WHERE state IN ('queued', 'submitting', 'unknown', 'generating')"
        )
        await self.place_until(producer, self._placed + most - row["open"])
        return int(row["flying"])

    async def counts(self) -> _Counts:
        """Read all values."""
        async with self._house.session.get(self._metrics_url) as answer:
            lateness = read_lateness(await answer.text())
        record = await self._house.record()
        return _Counts(
            at=time.monotonic(),
            lateness=lateness,
            arrived=record["polls"]["arrived"],
            ended=sum(record["tasks"]["by_outcome"].values()),
            worker=cpu_seconds(self.pid),
            kie=cpu_seconds(self._house.kie_pid),
            valkey=cpu_seconds(self.valkey_pid),
            busy=busy_seconds(),
        )

    async def overdue(self) -> int:
        """Return how many polls were due 250 ms ago and have not been claimed."""
        latest = local_now_ms() - int(1000 * ON_TIME_SECONDS)
        return int(await self._redis.zcount(Lane.POLL.value, "-inf", latest))

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Producer]:
        """Open a producer."""
        async with Producer.connect_to(self._house.servers) as producer:
            yield producer


@asynccontextmanager
async def _watching(
    deployment: BenchDeployment, pid: int, metrics_url: str
) -> AsyncIterator[_Watch]:
    postgres = await asyncpg.connect(deployment.servers.database_url)
    try:
        async with Redis.from_url(deployment.servers.redis_url) as redis:
            watch = _Watch(deployment, pid, metrics_url, redis, postgres)
            watch.valkey_pid = int((await redis.info("server"))["process_id"])
            yield watch
    finally:
        await postgres.close()


async def _run_load(watch: _Watch, load: Load) -> LoadResult:
    started_at = time.monotonic()
    async with watch.producing() as producer:
        while (passed := time.monotonic() - started_at) < load.fill_seconds:
            await watch.place_until(producer, int(load.jobs_per_second * passed))
            await asyncio.sleep(_LOOK_SECONDS)
        # Until then some have ended, and a few more have to be added than end.
        while await watch.keep_open(producer, load.tasks) < FULL_SHARE * load.tasks:
            if time.monotonic() - started_at > 1.5 * load.fill_seconds:
                break  # it does not get there: the figures say so
            await asyncio.sleep(_LOOK_SECONDS)
        before = await watch.counts()
        in_flight = []
        while time.monotonic() - before.at < load.watch_seconds:
            # A little more than wanted: some always wait to be submitted.
            in_flight.append(await watch.keep_open(producer, int(load.tasks * 1.02)))
            await asyncio.sleep(_LOOK_SECONDS)
        after, unsent = await watch.counts(), await watch.overdue()
    seconds = after.at - before.at
    return LoadResult(
        load=load,
        fewest=min(in_flight),
        usual=median(in_flight),
        seconds=seconds,
        ended=after.ended - before.ended,
        lateness=after.lateness.since(before.lateness),
        unsent=unsent,
        arrived=after.arrived - before.arrived,
        worker_share=(after.worker - before.worker) / seconds,
        kie_share=(after.kie - before.kie) / seconds,
        valkey_share=(after.valkey - before.valkey) / seconds,
        busy_cores=(after.busy - before.busy) / seconds,
        peak_mb=memory_mb(watch.pid, "VmHWM"),
    )
