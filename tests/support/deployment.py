"""A deployment for a test: a producer, a simulator, and workers as tasks or processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from producer import Producer
from producer.api import serving_api
from producer.doctor import check_invariants
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.migrations import migrate
from shared.adapters.redis.deliveries import connect_redis
from shared.catalog import ImageRequest
from shared.catalog.families.gpt4o_image import ImageToImage, TextToImage
from shared.domain.job import Job
from shared.redis_keys import CHANGES_CHANNEL
from shared.settings import Settings
from tests.support.api_client import ApiClient
from tests.support.eventually import pause_seconds
from tests.support.forked_programs import WORKER, Process, start_program
from tests.support.ports import free_port
from worker.bootstrap import WorkerResources, open_worker
from worker.service import run_lanes
from worker.simulator import Durations, Simulator, SimulatorConfig

WAIT_SECONDS = 30.0


def fast_simulator_config(**changes: Any) -> SimulatorConfig:
    """Return the options of a simulator that replies at once and finishes tasks within 0.1 s."""
    values: dict[str, Any] = {
        "create_latency_seconds": 0.0,
        "poll_latency_seconds": 0.0,
        "creates_per_10_seconds": 0,
        "durations": Durations(median_seconds=0.1, sigma=0.0),
        "callback_retry_seconds": 0.1,
        "seed": 1,
    }
    return SimulatorConfig(**{**values, **changes})


def text_to_image(prompt: str = "a lighthouse", **fields: Any) -> TextToImage:
    """Return a valid request. Keywords override fields."""
    return TextToImage(**{"prompt": prompt, "aspect_ratio": "3:2", **fields})


def image_to_image(**fields: Any) -> ImageToImage:
    """Return a valid request. Keywords override fields."""
    values = {"image_urls": ["https://example.com/a.png"], "aspect_ratio": "1:1"}
    return ImageToImage(**{**values, **fields})


async def eventually(
    ask: Callable[[], Awaitable[bool]], what: str, timeout_seconds: float = WAIT_SECONDS
) -> None:
    """Wait until `ask` returns true. Fails with `what` after the timeout."""
    began_at = monotonic()
    try:
        async with asyncio.timeout(timeout_seconds):
            while not await ask():
                waited_seconds = monotonic() - began_at
                if waited_seconds > timeout_seconds:  # what `ask` awaits swallowed the cancellation
                    raise TimeoutError
                await asyncio.sleep(pause_seconds(waited_seconds))
    except TimeoutError:
        raise AssertionError(f"after {timeout_seconds:g} s still not: {what}") from None


class Deployment:
    """The deployment of one test."""

    def __init__(
        self, settings: Settings, producer: Producer, database: Database, simulator: Simulator
    ) -> None:
        self.settings = settings
        self.producer = producer
        self.database = database
        self.simulator = simulator
        self._numbers = count(1)

    async def open_account(self, name: str, credits: int) -> None:
        """Create an account with that many credits."""
        await self.producer.billing.create_account(name)
        if credits:
            await self.producer.billing.grant(name, Decimal(credits), "for the test")

    async def check_account(self, *, balance: int, held: int = 0) -> None:
        """Fail unless the account `acme` has exactly this balance."""
        account = await self.producer.balance("acme")
        assert (account.balance, account.held) == (Decimal(balance), Decimal(held)), account

    async def enqueue(self, request: ImageRequest | None = None, **options: Any) -> Job:
        """Enqueue a job for the account `acme`, with a unique prompt."""
        asked = request or text_to_image(f"picture {next(self._numbers)}")
        return await self.producer.enqueue(asked, account_id="acme", **options)

    async def ended(self, job: Job | UUID, timeout_seconds: float = WAIT_SECONDS) -> Job:
        """Wait for the end of a job."""
        job_id = job if isinstance(job, UUID) else job.id
        return await self.producer.wait(job_id, timeout_seconds=timeout_seconds)

    async def is_waited_for(self) -> bool:
        """Return whether a process waits for any job, or listens for events."""
        assert self.settings.redis_url is not None
        async with connect_redis(self.settings.redis_url.get_secret_value()) as redis:
            ((_, listeners),) = await redis.pubsub_numsub(CHANGES_CHANNEL)
            return bool(listeners)

    async def in_state(self, job: Job, state: str) -> Job:
        """Wait until the job is in that state."""

        async def is_there() -> bool:
            return (await self.producer.get(job.id)).state == state

        await eventually(is_there, f"job {job.id} is {state}")
        return await self.producer.get(job.id)

    async def run_sql(self, statement: str, *args: Any) -> list[dict[str, Any]]:
        """Run any statement, as an admin does in psql."""
        return [dict(row) for row in await self.database.pool.fetch(statement, *args)]

    async def add_prices(self, model: str, task: str, credits: Mapping[str, int]) -> None:
        """Price one image of the model by variant. Kie charges one credit less."""
        async with self.database.transaction() as queries:
            await queries.connection.execute("SET LOCAL darkroom.confirm = 'yes'")
            await queries.connection.executemany(
                "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
                " VALUES ($1, $2, 1, $3, $4::numeric, $4 - 1)",
                [(model, task, variant, Decimal(price)) for variant, price in credits.items()],
            )

    async def check_invariants_hold(self) -> None:
        """Fail unless every invariant of the contract holds."""
        findings = [finding async for finding in check_invariants(self.database)]
        assert findings
        broken = [f"{finding.name}: {finding.detail}" for finding in findings if not finding.ok]
        assert not broken, "\n".join(broken)

    def check_paid_once(self) -> None:
        """Fail if a job was paid twice at the simulator, or a task was polled too often."""
        summary: Any = self.simulator.record.summary()
        assert summary["paid_more_than_once"]["by_prompt"] == 0, summary
        assert summary["polls"]["worst_window_per_task"] <= 3, summary
        assert summary["polls"]["over_limit"] == 0, summary

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[WorkerResources]:
        """Run a worker in this process. Keywords change its settings."""
        settings = self.settings.model_copy(update=changes)
        async with open_worker(settings) as resources, run_lanes(resources):
            yield resources

    @asynccontextmanager
    async def worker_with_callbacks(self, **changes: Any) -> AsyncIterator[WorkerResources]:
        """Run a worker with callbacks. Yields when it listens."""
        port = free_port()
        changes = {
            "kie_callback_url": f"http://127.0.0.1:{port}",
            "worker_http_port": port,
            **changes,
        }
        async with self.worker(**changes) as resources:
            yield resources

    @asynccontextmanager
    async def api(self, **changes: Any) -> AsyncIterator[ApiClient]:
        """Run the HTTP API in this process. Keywords change its settings."""
        settings = self.settings.model_copy(update=changes)
        async with (
            serving_api(settings) as addresses,
            aiohttp.ClientSession(f"http://{addresses[0]}") as session,
        ):
            yield ApiClient(session)

    @asynccontextmanager
    async def worker_process(self, **environ: str) -> AsyncIterator[WorkerProcess]:
        """Run `python -m worker`, and wait until it logs that it has started."""
        process = WorkerProcess({**environment(self.settings), **environ})
        await process.start()
        try:
            yield process
        finally:
            await process.kill()


class WorkerProcess:
    """A worker process that can be stopped and killed."""

    def __init__(self, environ: dict[str, str], descriptors: int | None = None) -> None:
        self._environ = environ
        self._descriptors = descriptors
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.lines: list[str] = []
        self._started = asyncio.Event()

    @property
    def process(self) -> Process:
        """The running process."""
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it and wait for its `worker_started` line."""
        self._process = await self._start_program()
        self._reading = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._started.wait()
        except TimeoutError:
            raise AssertionError("the worker did not start:\n" + "\n".join(self.lines)) from None

    async def _start_program(self) -> Process:
        if self._descriptors is None:
            return await start_program(WORKER, env=self._environ)
        return await asyncio.create_subprocess_exec(
            *("sh", "-c", f'ulimit -n {self._descriptors}; exec "$@"', "sh", *WORKER),
            env=self._environ,
            stderr=asyncio.subprocess.PIPE,
        )

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())
            if "worker_started" in self.lines[-1]:
                self._started.set()

    async def kill(self) -> None:
        """Kill it immediately."""
        if self.process.returncode is None:
            self.process.kill()
        await self._wait()

    async def stop(self, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Stop it by SIGTERM, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(timeout_seconds):
            return await self._wait()

    async def _wait(self) -> int:
        code = await self.process.wait()
        if self._reading is not None:
            await self._reading
        return code


@asynccontextmanager
async def another_database(beside_url: str) -> AsyncIterator[str]:
    """A migrated database beside the given one."""
    name = f"other_{uuid4().hex}"
    url = f"{beside_url.rpartition('/')[0]}/{name}"
    connection = await asyncpg.connect(beside_url)
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        await migrate(url)
        yield url
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a Darkroom process with these settings."""
    secrets = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "KIE_API_KEY": settings.kie_api_key,
        "KIE_API_KEYS": settings.kie_api_keys,
        "KIE_UPLOAD_KEY": settings.kie_upload_key,
    }
    return {
        **os.environ,
        **{name: value.get_secret_value() for name, value in secrets.items() if value},
        "DARKROOM_HOME": str(settings.darkroom_home),
        "KIE_BASE_URL": settings.kie_base_url,
        "KIE_SUBMITS_PER_10_SECONDS": str(settings.kie_submits_per_10_seconds),
        "WORKER_HTTP_PORT": "0",
        "API_PORT": "0",
        "LOG_FORMAT": "json",
    }
