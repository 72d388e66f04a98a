"""What a worker costs while it has nothing to do, and how soon it starts when it has.

Run with `make bench`. Prints the machine, the versions and the figures; the judge of the start is
the simulator, which notes when each create arrives.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from producer import Producer, TextToImage
from shared.adapters.servers import Servers, open_servers
from shared.settings import Settings

IDLE_SECONDS = 20
JOBS = 200
GAP_SECONDS = 0.05


async def main() -> None:
    """Measure and print."""
    print(
        f"machine: {platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    print(", ".join(f"{name} {version(name)}" for name in ("arq", "redis", "asyncpg", "aiohttp")))
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(darkroom_home=Path(home))
        async with open_servers(settings) as servers:
            await measure(servers, Path(home))


async def measure(servers: Servers, home: Path) -> None:
    """Start a simulator and a worker, watch the worker idle, then give it jobs one by one."""
    assert servers.embedded is not None
    kie = servers.embedded.ensure_process(
        "kie",
        [
            sys.executable,
            "-m",
            "worker.simulator",
            "--creates-per-10-seconds",
            "0",
            "--create-latency",
            "0",
            "--poll-latency",
            "0",
            "--duration",
            "600",
        ],
    )
    environ = {
        **os.environ,
        "DARKROOM_HOME": str(home),
        "KIE_API_KEY": kie["api_key"],
        "KIE_BASE_URL": kie["base_url"],
        "KIE_SUBMITS_PER_10_SECONDS": "0",
        "WORKER_HTTP_PORT": "0",
        "LOG_LEVEL": "WARNING",
    }
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "worker", env=environ)
    try:
        await asyncio.sleep(5)
        busy_seconds = cpu_seconds(worker.pid)
        await asyncio.sleep(IDLE_SECONDS)
        busy_seconds = cpu_seconds(worker.pid) - busy_seconds
        print(
            f"idle CPU over {IDLE_SECONDS} s: {100 * busy_seconds / IDLE_SECONDS:.2f} % of a core"
        )
        print(f"idle memory: {resident_mib(worker.pid):.1f} MiB resident")
        await measure_starts(servers, kie["base_url"])
    finally:
        worker.terminate()
        await worker.wait()


async def measure_starts(servers: Servers, kie_url: str) -> None:
    """Enqueue jobs one by one and compare with the arrivals that the simulator noted."""
    enqueued_at: dict[str, float] = {}
    async with Producer.connect_to(servers) as producer:
        await producer.billing.create_account("bench")
        await producer.billing.grant("bench", Decimal(100_000), "bench")
        for number in range(JOBS):
            prompt = f"bench {number}"
            enqueued_at[prompt] = time.time()
            await producer.enqueue(
                TextToImage(prompt=prompt, aspect_ratio="1:1"), account_id="bench"
            )
            await asyncio.sleep(GAP_SECONDS)
        await asyncio.sleep(1)
    tasks = await read_tasks(kie_url)
    delays = sorted(1000 * (task["created_at"] - enqueued_at[task["prompt"]]) for task in tasks)
    quantiles = statistics.quantiles(delays, n=100)
    print(
        f"enqueue called to create arrived at the simulator, {len(delays)} of {JOBS} jobs:"
        f" p50 {quantiles[49]:.1f} ms, p95 {quantiles[94]:.1f} ms, max {delays[-1]:.1f} ms"
    )


async def read_tasks(kie_url: str) -> list[dict[str, Any]]:
    """Return the simulator's own record of its tasks."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{kie_url}/simulator/record/tasks") as answer,
    ):
        return [orjson.loads(line) for line in (await answer.text()).splitlines() if line]


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, from the kernel's own account."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return the memory of a process that is in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    asyncio.run(main())
