"""Worker processes that are killed again and again, while they work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.measured_process import running

_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_000


class Crew:
    """The workers, each started again when it is killed."""

    def __init__(
        self, deployment: BenchDeployment, environs: Sequence[dict[str, str]], rng: Random
    ):
        self._house = deployment
        self._environs = environs
        self._dice = rng
        self._pids: dict[int, int] = {}
        self.kills = 0

    async def keep(self, number: int) -> None:
        """Run one worker and its successors."""
        folder = self._house.folder / f"worker-{number}"
        folder.mkdir()
        while True:
            async with running(
                (sys.executable, "-m", "worker"),
                self._environs[number],
                folder=folder,
                ready="worker_started",
            ) as pid:
                self._pids[number] = pid
                while Path(f"/proc/{pid}").exists():
                    await asyncio.sleep(0.05)
                self._pids.pop(number, None)

    async def reap(self, every_seconds: float) -> None:
        """Kill a random one, again and again, while at least one other is up."""
        while True:
            await asyncio.sleep(every_seconds)
            if len(self._pids) > 1:
                number = self._dice.choice(sorted(self._pids))
                os.kill(self._pids.pop(number), signal.SIGKILL)
                self.kills += 1


@asynccontextmanager
async def killed_workers(
    deployment: BenchDeployment, workers: int, rng: Random
) -> AsyncIterator[Crew]:
    """Keep so many running for as long as the block lasts; the first receives the callbacks."""
    port = rng.randrange(_LOWEST_PORT, _HIGHEST_PORT)
    environ = {
        **deployment.environ,
        "KIE_SUBMITS_PER_10_SECONDS": "0",
        "KIE_CALLBACK_URL": f"http://127.0.0.1:{port}",
        "WORKER_HTTP_PORT": "0",
        "LOG_LEVEL": "INFO",
    }
    environs = [dict(environ) for _ in range(workers)]
    environs[0]["WORKER_HTTP_PORT"] = str(port)
    crew = Crew(deployment, environs, rng)
    keepers = [asyncio.create_task(crew.keep(number)) for number in range(workers)]
    try:
        yield crew
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
