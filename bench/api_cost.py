"""The CPU cost of `POST /v1/jobs` compared with the Python client, and its latency under load.

`python -m bench.api_cost`. First the CPU of one enqueue: of the API process per POST, and of a
process that calls `Producer.enqueue` as often, both on the same loop and eight at a time, in
alternating rounds, all for one account. Then 200 POSTs a second at fixed moments, with a worker
beside it that settles as many: over ten accounts, and then for one alone, whose row every enqueue
and every settlement locks until its commit is on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from importlib.metadata import version
from itertools import count
from pathlib import Path

import aiohttp
import orjson

from bench.measurement.measured_process import cpu_seconds
from producer import Producer, TextToImage
from shared.adapters.async_tasks import loop_factory
from shared.adapters.servers import Servers, open_servers
from shared.settings import Settings
from tests.support.percentiles import percentile

AT_ONCE = 8
ACCOUNTS = [f"bench-{number}" for number in range(10)]
WARM_UP_SECONDS = 5
_START_SECONDS = 20.0


async def main(rounds: int, jobs: int, per_second: int, seconds: int) -> None:
    """Measure and print."""
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    names = ("aiohttp", "asyncpg", "redis", "pydantic", "uvloop")
    print(f"machine: {machine}")
    print(", ".join(f"{name} {version(name)}" for name in names))
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(open_servers(Settings(darkroom_home=home)))
        await open_accounts(servers)
        environ = {**os.environ, "DARKROOM_HOME": str(home), "LOG_LEVEL": "WARNING"}
        api, url = await stack.enter_async_context(api_process(environ))
        session = await stack.enter_async_context(aiohttp.ClientSession(url))
        await compare(servers, environ, api.pid, session, rounds=rounds, jobs=jobs)
        await stack.enter_async_context(worker_process(servers, environ))
        for accounts in (ACCOUNTS, ACCOUNTS[:1]):
            await press(session, api.pid, accounts, per_second=per_second, seconds=seconds)


async def open_accounts(servers: Servers) -> None:
    """Create accounts with many credits."""
    async with Producer.connect_to(servers) as producer:
        for account in ACCOUNTS:
            await producer.billing.create_account(account)
            await producer.billing.grant(account, Decimal(1_000_000), "bench")


@asynccontextmanager
async def api_process(
    environ: dict[str, str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the API in a separate process. Yields the process and its URL."""
    environ = {**environ, "API_PORT": "0", "LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", "api"), env=environ, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                line = orjson.loads(await process.stderr.readline())
                if line.get("event") == "api_started":
                    break
        yield process, f"http://{line['http']}"
    finally:
        process.terminate()
        await process.communicate()


@asynccontextmanager
async def worker_process(servers: Servers, environ: dict[str, str]) -> AsyncIterator[None]:
    """Run a simulator and a worker with the API, without Kie's account limit."""
    assert servers.embedded is not None
    arguments = ["--creates-per-10-seconds", "0", "--duration", "5"]
    kie = servers.embedded.ensure_process(
        "kie", [sys.executable, "-m", "worker.simulator", *arguments]
    )
    environ = {
        **environ,
        "KIE_API_KEY": kie["api_key"],
        "KIE_BASE_URL": kie["base_url"],
        "KIE_SUBMITS_PER_10_SECONDS": "0",
        "WORKER_HTTP_PORT": "0",
    }
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "worker", env=environ)
    try:
        await asyncio.sleep(3)
        yield
    finally:
        worker.terminate()
        await worker.wait()


# --- CPU ------------------------------------------------------------------------------------


async def compare(
    servers: Servers,
    environ: dict[str, str],
    api_pid: int,
    session: aiohttp.ClientSession,
    *,
    rounds: int,
    jobs: int,
) -> None:
    """Print the CPU of the API per POST, of the client per enqueue, and the ratio."""
    ratios, posts, calls = [], [], []
    await post_many(session, jobs)
    for number in range(rounds):
        before = cpu_seconds(api_pid)
        await post_many(session, jobs)
        posts.append(1e6 * (cpu_seconds(api_pid) - before) / jobs)
        calls.append(await client_microseconds(environ, jobs))
        ratios.append(posts[-1] / calls[-1])
        print(
            f"round {number + 1}: API {posts[-1]:.0f} us per POST,"
            f" client {calls[-1]:.0f} us per enqueue: {ratios[-1]:.2f}"
        )
    print(
        f"CPU of POST /v1/jobs over enqueue, {rounds} rounds of {jobs} jobs, {AT_ONCE} at a time:"
        f" median {statistics.median(ratios):.2f},"
        f" min {min(ratios):.2f}, max {max(ratios):.2f}"
    )


async def client_microseconds(environ: dict[str, str], jobs: int) -> float:
    """Return the CPU per `enqueue`, measured in a separate process after a warm-up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.api_cost", "--client", str(jobs)),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return float(output)


async def be_the_client(jobs: int) -> None:
    """Enqueue that many jobs, and print the microseconds of CPU per call."""
    numbers = count()
    async with Producer.connect() as producer:

        async def enqueue() -> None:
            request = TextToImage(prompt=f"client {next(numbers)}", aspect_ratio="3:2")
            await producer.enqueue(request, account_id=ACCOUNTS[0])

        await many(enqueue, 200)
        before = time.process_time()
        await many(enqueue, jobs)
        print(1e6 * (time.process_time() - before) / jobs)


async def post_many(session: aiohttp.ClientSession, jobs: int) -> None:
    """POST that many jobs, eight at a time."""

    async def post() -> None:
        async with session.post("/v1/jobs", json=body(ACCOUNTS[0])) as answer:
            assert answer.status == 202, await answer.text()

    await many(post, jobs)


def body(account_id: str) -> dict[str, object]:
    """Return one order."""
    return {
        "account_id": account_id,
        "task": "text-to-image",
        "prompt": f"post {time.perf_counter_ns()}",
        "aspect_ratio": "3:2",
    }


async def many(act: Callable[[], Awaitable[None]], times: int) -> None:
    """Call it that many times, eight at a time."""
    left = iter(range(times))

    async def go_on() -> None:
        for _ in left:
            await act()

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))


# --- latency --------------------------------------------------------------------------------


async def press(
    session: aiohttp.ClientSession,
    api_pid: int,
    accounts: list[str],
    *,
    per_second: int,
    seconds: int,
) -> None:
    """Send POSTs at fixed times, and print their latencies."""
    took: list[float] = []
    loop = asyncio.get_running_loop()

    async def post(due: float, account_id: str) -> None:
        async with session.post("/v1/jobs", json=body(account_id)) as answer:
            await answer.read()
            assert answer.status == 202
        # From the time it was due, so the time in the client's queue counts.
        took.append(1000 * (loop.time() - due))

    async def keep_on(for_seconds: int) -> None:
        started = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(per_second * for_seconds):
                due = started + number / per_second
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(post(due, accounts[number % len(accounts)]))

    # Connections are opened and statements planned by the first who come.
    await keep_on(WARM_UP_SECONDS)
    took.clear()
    before = cpu_seconds(api_pid)
    await keep_on(seconds)
    busy = (cpu_seconds(api_pid) - before) / seconds
    p50, p95, p99 = (percentile(took, percent) for percent in (50, 95, 99))
    print(
        f"{len(took)} POSTs at {per_second}/s, accounts: {len(accounts)}, with a worker:"
        f" p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms,"
        f" max {max(took):.1f} ms;"
        f" the API used {100 * busy:.0f} % of a core"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.api_cost")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--per-second", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--client", type=int, help="for the measurement itself: enqueue, print")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        if given.client:
            runner.run(be_the_client(given.client))
        else:
            runner.run(main(given.rounds, given.jobs, given.per_second, given.seconds))
