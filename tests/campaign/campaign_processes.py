"""The processes that are killed and restarted: workers, the API, and the order process."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from tests.campaign.campaign_deployment import CampaignDeployment
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_orders import OrderBook
from tests.campaign.order_process import STARTED
from tests.support.restarted_process import Death, RestartedProcess

_STARTED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CampaignProcesses:
    """The processes that may be killed. The first worker receives the callbacks."""

    workers: tuple[RestartedProcess, ...]
    api: RestartedProcess
    producer: RestartedProcess

    @property
    def cut_off(self) -> RestartedProcess:
        """The worker that reaches the servers through the relays."""
        return self.workers[-1]

    @property
    def everybody(self) -> tuple[RestartedProcess, ...]:
        """All of them."""
        return (*self.workers, self.api, self.producer)

    def deaths(self) -> list[Death]:
        """Return every death, in order."""
        found = [death for process in self.everybody for death in process.deaths]
        return sorted(found, key=lambda death: death.at_epoch)

    def loud_lines(self) -> Counter[str]:
        """Return what was logged at level error or critical, by event."""
        return sum((process.loud_lines for process in self.everybody), Counter())


@asynccontextmanager
async def running_workers(
    deployment: CampaignDeployment, options: CampaignOptions
) -> AsyncIterator[tuple[RestartedProcess, ...]]:
    """Run the workers during the block. Yields when all have started."""
    receiver = urlsplit(deployment.environ.get("KIE_CALLBACK_URL", "")).port or 0
    environs = [dict(deployment.environ) for _ in range(options.workers)]
    environs[-1] = dict(deployment.cut_environ)
    environs[options.workers // 2] |= deployment.clock.environment
    environs[0]["WORKER_HTTP_PORT"] = str(receiver)
    processes = tuple(
        RestartedProcess(
            f"worker {number}",
            [sys.executable, "-m", "worker"],
            environ,
            started_word="worker_started",
            folder=deployment.folder,
        )
        for number, environ in enumerate(environs, start=1)
    )
    tasks = [asyncio.create_task(process.run()) for process in processes]
    try:
        async with asyncio.timeout(_STARTED_SECONDS):
            while not all(process.is_up for process in processes):
                await asyncio.sleep(0.05)
        yield processes
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
        await asyncio.gather(*tasks)


@asynccontextmanager
async def running_api(deployment: CampaignDeployment) -> AsyncIterator[RestartedProcess]:
    """Run the HTTP API during the block. Yields when it has started."""
    process = RestartedProcess(
        "api",
        [sys.executable, "-m", "producer", "api"],
        deployment.environ,
        started_word="api_started",
        folder=deployment.folder,
    )
    task = asyncio.create_task(process.run())
    try:
        async with asyncio.timeout(_STARTED_SECONDS):
            while not process.is_up:
                await asyncio.sleep(0.05)
        yield process
    finally:
        await process.stop()
        await task


@asynccontextmanager
async def running_producer(
    deployment: CampaignDeployment, options: CampaignOptions, started_epoch: float
) -> AsyncIterator[RestartedProcess]:
    """Run a producer that places all orders over the window from that time."""
    book = OrderBook(options.seed, options.jobs, started_epoch, options.window_seconds)
    given = {
        "seed": book.seed,
        "jobs": book.jobs,
        "started_epoch": book.started_epoch,
        "window_seconds": book.window_seconds,
        "progress": str(deployment.folder / "placed"),
        "refused": str(deployment.refused),
        "webhook_url": deployment.webhook_recorder.url,
    }
    process = RestartedProcess(
        "producer",
        [sys.executable, "-m", "tests.campaign.order_process", orjson.dumps(given).decode()],
        deployment.environ,
        started_word=STARTED,
        folder=deployment.folder,
    )
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        await process.stop()
        await task
