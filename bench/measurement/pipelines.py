"""Who is measured: Darkroom, the bare loop, and the pipelines made by hand on its peers."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import asyncpg

from bench.figures.bare_loop import LoopLoad
from bench.measurement.bench_deployment import ACCOUNT, BenchDeployment
from bench.measurement.measured_process import run_to_its_end
from bench.peers.job_placement import TICK_SECONDS, due
from bench.peers.peer_environments import python_of, version_of
from bench.peers.peer_settings import READY
from bench.peers.peer_tables import JobTable, describe
from producer import Order, Producer, TextToImage
from tests.support.ports import free_port

_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How a hand-made pipeline polls."""

    first_seconds: float
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class Program:
    """A worker process to start, and what tells that it is ready: words, or a URL."""

    arguments: tuple[str, ...]
    environ: dict[str, str]
    ready: str


class Pipeline(Protocol):
    """Somebody who can work through jobs."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return how to start one of its workers."""

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Place this many jobs at once."""

    async def count_open(self, connection: asyncpg.Connection) -> int:
        """Return how many jobs have not ended."""

    async def last_end(self, connection: asyncpg.Connection) -> float:
        """Return when the last job ended (epoch)."""

    async def ends(self, connection: asyncpg.Connection) -> dict[str, float]:
        """Return when each ended job ended (epoch), by the name of its task at Kie."""


class DarkroomPipeline:
    """Ours, with its own timetable of polls, and nothing set but the addresses."""

    name = "Darkroom"

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return how to start a worker: as anybody would, quiet in its log as all others are."""
        port = free_port()
        environ = {
            **deployment.environ,
            "KIE_SUBMITS_PER_10_SECONDS": "0",
            "WORKER_HTTP_PORT": str(port),
            "LOG_LEVEL": "WARNING",
        }
        arguments = (sys.executable, "-m", "worker")
        return Program(arguments, environ, f"http://127.0.0.1:{port}/healthz")

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Place this many jobs at once."""
        async with Producer.connect_to(deployment.servers) as producer:
            for start in range(0, jobs, _BATCH):
                numbers = range(start, min(start + _BATCH, jobs))
                await producer.enqueue_many([order_of(number) for number in numbers])

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Place this many jobs evenly over the seconds."""
        async with Producer.connect_to(deployment.servers) as producer:
            await place_evenly(producer, jobs, seconds)

    async def placed(self, connection: asyncpg.Connection, since: float) -> list[float]:
        """Return when each job was placed that was placed since then (epoch)."""
        rows = await connection.fetch(
            "SELECT extract(epoch FROM created_at) AS placed FROM jobs"
            " WHERE created_at >= to_timestamp($1)",
            since,
        )
        return [float(row["placed"]) for row in rows]

    async def count_open(self, connection: asyncpg.Connection) -> int:
        """Return how many jobs have not ended."""
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
            )
        )

    async def last_end(self, connection: asyncpg.Connection) -> float:
        """Return when the last job ended (epoch)."""
        return float(
            await connection.fetchval("SELECT extract(epoch FROM max(finished_at)) FROM jobs")
        )

    async def ends(self, connection: asyncpg.Connection) -> dict[str, float]:
        """Return when each ended job ended (epoch), by the name of its task at Kie."""
        rows = await connection.fetch(
            "SELECT provider_task_id, extract(epoch FROM finished_at) AS ended FROM jobs"
            " WHERE provider_task_id IS NOT NULL AND finished_at IS NOT NULL"
        )
        return {row["provider_task_id"]: float(row["ended"]) for row in rows}


class _PeerTablesMixin:
    """What the bare loop and the peers have in common: the plain tables."""

    async def count_open(self, connection: asyncpg.Connection) -> int:
        """Return how many jobs have not ended."""
        return int(
            await connection.fetchval("SELECT count(*) FROM peers.jobs WHERE finished_at IS NULL")
        )

    async def last_end(self, connection: asyncpg.Connection) -> float:
        """Return when the last job ended (epoch)."""
        return float(
            await connection.fetchval("SELECT extract(epoch FROM max(finished_at)) FROM peers.jobs")
        )

    async def ends(self, connection: asyncpg.Connection) -> dict[str, float]:
        """Return when each ended job ended (epoch), by the name of its task at Kie."""
        rows = await connection.fetch(
            "SELECT task_id, extract(epoch FROM finished_at) AS ended FROM peers.jobs"
            " WHERE task_id IS NOT NULL AND finished_at IS NOT NULL"
        )
        return {row["task_id"]: float(row["ended"]) for row in rows}


class BareLoopPipeline(_PeerTablesMixin):
    """The floor, with the polls and statements per job that it is told to make."""

    name = "bare loop"

    def __init__(self, shape: LoopLoad) -> None:
        self._shape = shape

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return how to start it; it begins when it goes on after being held still."""
        environ = peer_environ(deployment, PollSchedule(1, 1), is_tuned=True)
        arguments = (
            sys.executable,
            "-m",
            "bench.figures.bare_loop",
            json.dumps(asdict(self._shape)),
        )
        return Program(arguments, environ, READY)

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Make the rows that it will write to."""
        connection = await asyncpg.connect(deployment.servers.database_url)
        try:
            await JobTable(connection).place(range(jobs))
        finally:
            await connection.close()


class PeerPipeline(_PeerTablesMixin):
    """A pipeline of `bench/peers/`, in the environment of its library."""

    def __init__(self, library: str, pace: PollSchedule, *, is_tuned: bool) -> None:
        self._library = library
        self._pace = pace
        self._is_tuned = is_tuned
        self._python = python_of(library)

    @property
    def name(self) -> str:
        """The library and its version."""
        return f"{self._library} {version_of(self._library)}"

    @property
    def module(self) -> str:
        """The file of the pipeline, as Python imports it."""
        return f"bench.peers.{self._library}_pipeline"

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return how to start a worker."""
        arguments = (str(self._python), "-m", self.module, "work")
        return Program(arguments, self.environ(deployment), READY)

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Place this many jobs at once, from a process of the peer's own environment."""
        await self.place_over(deployment, jobs, 0)

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Place this many jobs evenly over the seconds, from a process of its own."""
        arguments = self.placing(jobs, seconds)
        await run_to_its_end(arguments, self.environ(deployment), folder=deployment.folder)

    async def placed(self, connection: asyncpg.Connection, since: float) -> list[float]:
        """Return when each job was placed that was placed since then (epoch)."""
        rows = await connection.fetch(
            "SELECT extract(epoch FROM created_at) AS placed FROM peers.jobs"
            " WHERE created_at >= to_timestamp($1)",
            since,
        )
        return [float(row["placed"]) for row in rows]

    def placing(self, jobs: int, seconds: float) -> tuple[str, ...]:
        """Return the command that places jobs evenly over so many seconds."""
        given = json.dumps({"jobs": jobs, "seconds": seconds})
        return (str(self._python), "-m", self.module, "place", given)

    def environ(self, deployment: BenchDeployment) -> dict[str, str]:
        """Return the environment of its processes."""
        return peer_environ(deployment, self._pace, is_tuned=self._is_tuned)


async def place_evenly(producer: Producer, jobs: int, seconds: float) -> None:
    """Place so many jobs evenly over the seconds."""
    clock = asyncio.get_running_loop().time
    started_at, placed = clock(), 0
    while placed < jobs:
        until = due(clock() - started_at, jobs, seconds)
        if until > placed:
            await producer.enqueue_many([order_of(number) for number in range(placed, until)])
            placed = until
        await asyncio.sleep(TICK_SECONDS)


def peer_environ(
    deployment: BenchDeployment, pace: PollSchedule, *, is_tuned: bool
) -> dict[str, str]:
    """Return what `bench.peers.peer_settings` reads."""
    return {
        **deployment.environ,
        "PEER_FIRST_POLL_SECONDS": f"{pace.first_seconds:g}",
        "PEER_POLL_SECONDS": f"{pace.gap_seconds:g}",
        "PEER_TUNED": "1" if is_tuned else "0",
    }


def order_of(number: int) -> Order:
    """Return Darkroom's order for what the peers call job `number`."""
    prompt, quantity = describe(number)
    request = TextToImage.model_validate(
        {"prompt": prompt, "aspect_ratio": "1:1", "quantity": quantity}
    )
    return Order(request=request, account_id=ACCOUNT)


def log_folder(deployment: BenchDeployment, name: str) -> Path:
    """Return a folder of its own for what a process writes."""
    folder = deployment.folder / name.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    return folder
