"""The measured pipelines: Darkroom, the bare loop, and one on each peer library."""

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
    """When a peer's pipeline polls."""

    first_seconds: float
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class Program:
    """A worker process to start, and the text or URL that shows that it is ready."""

    arguments: tuple[str, ...]
    environ: dict[str, str]
    ready: str


class Pipeline(Protocol):
    """A pipeline that runs jobs."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return the command that starts a worker."""

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Enqueue this many jobs at once."""

    async def count_open(self, connection: asyncpg.Connection) -> int:
        """Return the number of open jobs."""

    async def last_end(self, connection: asyncpg.Connection) -> float:
        """Return the end of the last job (epoch seconds)."""

    async def ends(self, connection: asyncpg.Connection) -> dict[str, float]:
        """Return the end of each ended job (epoch seconds), by task name at Kie."""


class DarkroomPipeline:
    """Darkroom with its own poll planning and default settings."""

    name = "Darkroom"

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return the command that starts a worker, with the log level of the other pipelines."""
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
        """Enqueue this many jobs at once."""
        async with Producer.connect_to(deployment.servers) as producer:
            for start in range(0, jobs, _BATCH):
                numbers = range(start, min(start + _BATCH, jobs))
                await producer.enqueue_many([order_of(number) for number in numbers])

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Enqueue this many jobs at a constant rate over the seconds."""
        async with Producer.connect_to(deployment.servers) as producer:
            await place_evenly(producer, jobs, seconds)

    async def placed(self, connection: asyncpg.Connection, since: float) -> list[float]:
        """Return when the jobs since then were placed (epoch seconds)."""
        rows = await connection.fetch(
            "SELECT extract(epoch FROM created_at) AS placed FROM jobs"
            " WHERE created_at >= to_timestamp($1)",
            since,
        )
        return [float(row["placed"]) for row in rows]

    async def count_open(self, connection: asyncpg.Connection) -> int:
        """Return the number of open jobs."""
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
            )
        )

    async def last_end(self, connection: asyncpg.Connection) -> float:
        """Return the end of the last job (epoch seconds)."""
        return float(
            await connection.fetchval("SELECT extract(epoch FROM max(finished_at)) FROM jobs")
        )

    async def ends(self, connection: asyncpg.Connection) -> dict[str, float]:
        """Return the end of each ended job (epoch seconds), by task name at Kie."""
        rows = await connection.fetch(
            "SELECT provider_task_id, extract(epoch FROM finished_at) AS ended FROM jobs"
            " WHERE provider_task_id IS NOT NULL AND finished_at IS NOT NULL"
        )
        return {row["provider_task_id"]: float(row["ended"]) for row in rows}


class _PeerTablesMixin:
    """The tables of the bare loop and the peers."""

    async def count_open(self, connection: asyncpg.Connection) -> int:
        """Return the number of open jobs."""
        return int(
            await connection.fetchval("SELECT count(*) FROM peers.jobs WHERE finished_at IS NULL")
        )

    async def last_end(self, connection: asyncpg.Connection) -> float:
        """Return the end of the last job (epoch seconds)."""
        return float(
            await connection.fetchval("SELECT extract(epoch FROM max(finished_at)) FROM peers.jobs")
        )

    async def ends(self, connection: asyncpg.Connection) -> dict[str, float]:
        """Return the end of each ended job (epoch seconds), by task name at Kie."""
        rows = await connection.fetch(
            "SELECT task_id, extract(epoch FROM finished_at) AS ended FROM peers.jobs"
            " WHERE task_id IS NOT NULL AND finished_at IS NOT NULL"
        )
        return {row["task_id"]: float(row["ended"]) for row in rows}


class BareLoopPipeline(_PeerTablesMixin):
    """The bare loop with the given polls and statements per job."""

    name = "bare loop"

    def __init__(self, shape: LoopLoad) -> None:
        self._shape = shape

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return the command that starts it. It begins when it is resumed."""
        environ = peer_environ(deployment, PollSchedule(1, 1), is_tuned=True)
        arguments = (
            sys.executable,
            "-m",
            "bench.figures.bare_loop",
            json.dumps(asdict(self._shape)),
        )
        return Program(arguments, environ, READY)

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Create the rows that it writes to."""
        connection = await asyncpg.connect(deployment.servers.database_url)
        try:
            await JobTable(connection).place(range(jobs))
        finally:
            await connection.close()


class PeerPipeline(_PeerTablesMixin):
    """A pipeline of `bench/peers/` in the environment of its library."""

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
        """The module of the pipeline."""
        return f"bench.peers.{self._library}_pipeline"

    def worker(self, deployment: BenchDeployment) -> Program:
        """Return the command that starts a worker."""
        arguments = (str(self._python), "-m", self.module, "work")
        return Program(arguments, self.environ(deployment), READY)

    async def place(self, deployment: BenchDeployment, jobs: int) -> None:
        """Enqueue this many jobs at once, from a process in the peer's environment."""
        await self.place_over(deployment, jobs, 0)

    async def place_over(self, deployment: BenchDeployment, jobs: int, seconds: float) -> None:
        """Enqueue this many jobs at a constant rate over the seconds, from a separate process."""
        arguments = self.placing(jobs, seconds)
        await run_to_its_end(arguments, self.environ(deployment), folder=deployment.folder)

    async def placed(self, connection: asyncpg.Connection, since: float) -> list[float]:
        """Return when the jobs since then were placed (epoch seconds)."""
        rows = await connection.fetch(
            "SELECT extract(epoch FROM created_at) AS placed FROM peers.jobs"
            " WHERE created_at >= to_timestamp($1)",
            since,
        )
        return [float(row["placed"]) for row in rows]

    def placing(self, jobs: int, seconds: float) -> tuple[str, ...]:
        """Return the command that enqueues jobs at a constant rate."""
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
    """Return the environment variables for `bench.peers.peer_settings`."""
    return {
        **deployment.environ,
        "PEER_FIRST_POLL_SECONDS": f"{pace.first_seconds:g}",
        "PEER_POLL_SECONDS": f"{pace.gap_seconds:g}",
        "PEER_TUNED": "1" if is_tuned else "0",
    }


def order_of(number: int) -> Order:
    """Return the order of job `number`, equal to that of the peers."""
    prompt, quantity = describe(number)
    request = TextToImage.model_validate(
        {"prompt": prompt, "aspect_ratio": "1:1", "quantity": quantity}
    )
    return Order(request=request, account_id=ACCOUNT)


def log_folder(deployment: BenchDeployment, name: str) -> Path:
    """Return a folder for the files of one process."""
    folder = deployment.folder / name.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    return folder
