"""Runs one pipeline under kills: workers are killed while jobs arrive, then jobs may end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

import asyncpg

from bench.measurement.bench_deployment import BenchDeployment, open_bench_deployment
from bench.measurement.pipelines import DarkroomPipeline, PeerPipeline, PollSchedule, log_folder
from bench.peers.peer_settings import READY
from tests.support.ports import port_for_restarts
from tests.support.restarted_process import RestartedProcess

TASK_SECONDS = 6.0
CREATE_SECONDS = 0.4
POLL_SECONDS = 0.2
SIMULATOR = (
    *("--create-latency", f"{CREATE_SECONDS:g}", "--poll-latency", f"{POLL_SECONDS:g}"),
    *("--duration", f"{TASK_SECONDS:g}", "--hmac-key", "the-campaign's-webhook-key"),
)
"""The arguments of the simulated Kie: realistic latencies and no faults."""
_LOOK_SECONDS = 0.5
_ANOTHER_UP_SECONDS = 10.0
_CALM_SECONDS = 10.0
"""The time after the last order before the next target may begin."""

KIES_ADVICE = PollSchedule(first_seconds=2.5, gap_seconds=2.5)
"""How often Kie advises to poll in the first half minute."""
UNKNOWN_LIMIT_SECONDS = 60
_DARKROOM_ENDS = """
SELECT request->>'prompt' AS prompt, state, extract(epoch FROM created_at)::float8 AS placed,
       extract(epoch FROM finished_at)::float8 AS ended,
       (SELECT count(*) FROM ledger_entries WHERE job_id = jobs.id AND kind = 'capture') AS charges
  FROM jobs
"""
_PEER_ENDS = """
SELECT prompt, state, extract(epoch FROM created_at)::float8 AS placed,
       extract(epoch FROM finished_at)::float8 AS ended,
       (SELECT count(*) FROM peers.ledger_entries WHERE job_id = jobs.id) AS charges
  FROM peers.jobs
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPlan:
    """The kills of each target. The seed repeats their times and victims."""

    jobs: int = 200
    kills: int = 12
    window_seconds: float = 24.0
    workers: int = 2
    seed: int = 7
    limit_seconds: float = 360.0
    """The time limit after the last order. Jobs that are open then count as stuck."""


@dataclass(frozen=True, slots=True)
class KillResult:
    """The results of the jobs. Paid tasks are counted by the simulated Kie."""

    name: str
    flushed: bool
    jobs: int
    kills: int
    tasks: int
    paid_again: int
    """Paid tasks beyond the first one of a job."""
    never_asked: int
    """Jobs without a task at Kie."""
    stuck: int
    without_images: int
    """Jobs that ended without success."""
    charged_again: int
    longest_seconds: float
    """Seconds from an order to its end, for ended jobs."""
    last_seconds: float
    """Seconds from the last order to the last end."""
    most_polls: int
    """Of one task in any sliding second."""


@dataclass(frozen=True, slots=True)
class End:
    """One job in Postgres. Times are epoch seconds."""

    prompt: str
    state: str
    placed_epoch: float
    ended_epoch: float | None
    charges: int


class KillTarget(Protocol):
    """A pipeline that runs under kills."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def worker_process(self, deployment: BenchDeployment, number: int) -> RestartedProcess:
        """Return the restarted process of worker `number`, from 1."""

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Place the jobs at a constant rate over the seconds."""

    async def ends(self, connection: asyncpg.Connection) -> Sequence[End]:
        """Return its jobs."""


class DarkroomTarget:
    """Darkroom with callbacks. The first worker receives them on a fixed port."""

    name = "Darkroom"

    def __init__(self) -> None:
        self._port = port_for_restarts()

    def worker_process(self, deployment: BenchDeployment, number: int) -> RestartedProcess:
        """Return the restarted process of worker `number`, from 1."""
        environ = {
            **deployment.environ,
            "KIE_SUBMITS_PER_10_SECONDS": "0",
            "KIE_CALLBACK_URL": f"http://127.0.0.1:{self._port}",
            "KIE_WEBHOOK_HMAC_KEY": "the-campaign's-webhook-key",
            "UNKNOWN_LIMIT_SECONDS": str(UNKNOWN_LIMIT_SECONDS),
            "WORKER_HTTP_PORT": str(self._port if number == 1 else 0),
            "LOG_FORMAT": "json",
        }
        name = f"worker {number}"
        arguments = [sys.executable, "-m", "worker"]
        folder = log_folder(deployment, self.name)
        return RestartedProcess(
            name, arguments, environ, started_word="worker_started", folder=folder
        )

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Place the jobs at a constant rate over the seconds."""
        await DarkroomPipeline().place_over(deployment, jobs, seconds)

    async def ends(self, connection: asyncpg.Connection) -> Sequence[End]:
        """Return its jobs."""
        return await _ends(connection, _DARKROOM_ENDS)


class PeerTarget:
    """A pipeline of `bench/peers/` with the default options of its library."""

    def __init__(self, library: str) -> None:
        self._peer = PeerPipeline(library, KIES_ADVICE, is_tuned=False)

    @property
    def name(self) -> str:
        """The library and its version."""
        return self._peer.name

    def worker_process(self, deployment: BenchDeployment, number: int) -> RestartedProcess:
        """Return the restarted process of worker `number`, from 1."""
        program = self._peer.worker(deployment)
        return RestartedProcess(
            f"worker {number}",
            program.arguments,
            program.environ,
            started_word=READY,
            folder=log_folder(deployment, self.name),
        )

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Place the jobs evenly over the seconds, from a process of its own."""
        await self._peer.place_over(deployment, jobs, seconds)

    async def ends(self, connection: asyncpg.Connection) -> Sequence[End]:
        """Return its jobs."""
        return await _ends(connection, _PEER_ENDS)


async def _ends(connection: asyncpg.Connection, query: str) -> Sequence[End]:
    rows = await connection.fetch(query)
    return [
        End(row["prompt"], row["state"], row["placed"], row["ended"], row["charges"])
        for row in rows
    ]


async def run_under_kills(
    target: KillTarget, plan: KillPlan, folder: Path, turn: asyncio.Lock, *, flush: bool
) -> KillResult:
    """Run one target under kills. `turn` allows kills of one target at a time."""
    random = Random(plan.seed)  # noqa: S311
    async with (
        _in_turn(turn) as over,
        open_bench_deployment(
            folder, simulator=("--seed", str(plan.seed), *SIMULATOR)
        ) as deployment,
        _kept(target, deployment, plan) as processes,
    ):
        placing = asyncio.create_task(target.place_over(deployment, plan.jobs, plan.window_seconds))
        kills = await _kill_workers(deployment, processes, plan, random, flush=flush)
        await placing
        placed_at = time.time()
        await _wait(deployment, target, plan, _CALM_SECONDS)
        over.set()
        await _wait(deployment, target, plan, plan.limit_seconds - (time.time() - placed_at))
        return await _judge(deployment, target, kills, flushed=flush)


@asynccontextmanager
async def _in_turn(turn: asyncio.Lock) -> AsyncIterator[asyncio.Event]:
    """Hold the turn until the yielded event is set, or the block ends."""
    over, held = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with turn:
            held.set()
            await over.wait()

    holding = asyncio.create_task(hold())
    try:
        await held.wait()
        yield over
    finally:
        over.set()
        if not held.is_set():
            holding.cancel()
        with suppress(asyncio.CancelledError):
            await holding


@asynccontextmanager
async def _kept(
    target: KillTarget, deployment: BenchDeployment, plan: KillPlan
) -> AsyncIterator[list[RestartedProcess]]:
    """Restart workers when they die."""
    processes = [target.worker_process(deployment, number) for number in range(1, plan.workers + 1)]
    tasks = [asyncio.create_task(process.run()) for process in processes]
    try:
        async with asyncio.timeout(60):
            while not all(process.is_up for process in processes):
                await asyncio.sleep(0.05)
        yield processes
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
        await asyncio.gather(*tasks)


async def _kill_workers(
    deployment: BenchDeployment,
    processes: list[RestartedProcess],
    plan: KillPlan,
    random: Random,
    *,
    flush: bool,
) -> int:
    """Kill at the planned times, and optionally wipe Redis once. Returns the number of kills."""
    clock = asyncio.get_running_loop().time
    started_at, killed = clock(), 0
    kill_times = [(random.uniform(0.04, 1) * plan.window_seconds, False) for _ in range(plan.kills)]
    if flush:
        kill_times.append((plan.window_seconds / 2, True))
    for seconds, is_flush in sorted(kill_times):
        await asyncio.sleep(max(0, started_at + seconds - clock()))
        if is_flush:
            await deployment.flush_redis()
        else:
            killed += await _kill_worker(processes, random)
    return killed


async def _kill_worker(processes: list[RestartedProcess], random: Random) -> int:
    """Kill a worker while another one is running. Waits for that for a limited time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANOTHER_UP_SECONDS):
            while not all(process.is_up for process in processes):
                await asyncio.sleep(0.02)
    up = [process for process in processes if process.is_up]
    if not up:
        return 0
    random.choice(up).kill()
    return 1


async def _wait(
    deployment: BenchDeployment, target: KillTarget, plan: KillPlan, seconds: float
) -> None:
    """Wait until all jobs have ended, or the time limit."""
    connection = await asyncpg.connect(deployment.servers.database_url)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                while True:
                    ends = await target.ends(connection)
                    if len(ends) == plan.jobs and all(end.ended_epoch for end in ends):
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await connection.close()


async def _judge(
    deployment: BenchDeployment, target: KillTarget, kills: int, *, flushed: bool
) -> KillResult:
    connection = await asyncpg.connect(deployment.servers.database_url)
    try:
        ends = await target.ends(connection)
    finally:
        await connection.close()
    record = await deployment.record()
    paid = Counter(task["prompt"] for task in await deployment.tasks())
    ended = [(end, end.ended_epoch) for end in ends if end.ended_epoch is not None]
    last_order = max(end.placed_epoch for end in ends)
    return KillResult(
        name=target.name,
        flushed=flushed,
        jobs=len(ends),
        kills=kills,
        tasks=paid.total(),
        paid_again=paid.total() - len(paid),
        never_asked=sum(end.prompt not in paid for end in ends),
        stuck=len(ends) - len(ended),
        without_images=sum(end.state != "succeeded" for end, _ in ended),
        charged_again=sum(max(end.charges - 1, 0) for end in ends),
        longest_seconds=max((at - end.placed_epoch for end, at in ended), default=0.0),
        last_seconds=max((at - last_order for _, at in ended), default=0.0),
        most_polls=record["polls"]["worst_window_per_task"],
    )
