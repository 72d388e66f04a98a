"""What a thousand listeners cost one API process, and how soon they hear of what was committed.

Run with `python -m bench.listeners [--listeners 1000]`. Three processes: the real API; a client
that holds all connections and notes when each event arrives; and a writer, which commits events
one by one and announces them as workers do. A delay runs from the moment at which the writer has
its COMMIT confirmed until the client has read the event from its socket. All of it, Postgres and
Valkey included, shares this machine, and no proxy stands between.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import random
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import aiohttp

from bench.at_rest import cpu_seconds, resident_mib
from producer import Order, Producer, TextToImage
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers, open_servers
from shared.settings import Settings
from worker.batching.change_publisher import ChangePublisher, send_with
from worker.batching.redis_scripts import RedisScripts

SEED = 7
OWN_JOB_EVENTS, OWN_JOB_RATE = 4_000, 200.0
ONE_ACCOUNT_EVENTS, ONE_ACCOUNT_RATE = 40, 2.0
SETTLING_SECONDS = 3.0
_EVENT_ID = re.compile(rb'data: \{"id":(\d+),')
_WRITE = """
INSERT INTO job_events (job_id, event, detail)
VALUES ($1, 'progressed', '{"progress": 0.5}') RETURNING id
"""


class Listening(asyncio.Protocol):
    """One connection of the client: notes when which event comes."""

    def __init__(self, path: str, arrivals: list[tuple[int, float]]) -> None:
        self._path, self._arrivals = path, arrivals
        self.is_open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Note the events in it."""
        now = time.time()
        if not self.is_open.done():
            if data.startswith(b"HTTP/1.1 200"):
                self.is_open.set_result(None)
            else:
                self.is_open.set_exception(RuntimeError(f"refused: {data[:200]!r}"))
        self._arrivals += [(int(event_id), now) for event_id in _EVENT_ID.findall(data)]


def hear(port: int, paths: list[str], pipe: Connection) -> None:
    """Be the client: open all streams, say so, and tell what came once asked."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        arrivals: list[tuple[int, float]] = []
        for start in range(0, len(paths), 50):
            made = [
                await loop.create_connection(
                    lambda path=path: Listening(path, arrivals),  # type: ignore[misc]
                    "127.0.0.1",
                    port,
                )
                for path in paths[start : start + 50]
            ]
            await asyncio.gather(*(protocol.is_open for _, protocol in made))
        pipe.send("open")
        await loop.run_in_executor(None, pipe.recv)
        pipe.send(arrivals)

    asyncio.run(run())


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listeners", type=int, default=1_000)
    listeners = parser.parse_args().listeners
    print(
        f"machine: {platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    print(
        ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "asyncpg", "redis", "uvloop"))
    )
    with tempfile.TemporaryDirectory() as home:
        async with open_servers(Settings(darkroom_home=Path(home))) as servers:
            job_ids = await enqueue(servers, listeners)
            async with api_process(home) as (pid, port):
                own = [f"/v1/jobs/{job_id}/events" for job_id in job_ids]
                print(f"\n{listeners} listeners, each to a job of its own")
                await measure(servers, pid, port, own, job_ids, OWN_JOB_EVENTS, OWN_JOB_RATE)
            async with api_process(home) as (pid, port):
                same = ["/v1/accounts/bench/events"] * listeners
                print(f"\n{listeners} listeners, all to one account")
                await measure(
                    servers, pid, port, same, job_ids, ONE_ACCOUNT_EVENTS, ONE_ACCOUNT_RATE
                )


async def enqueue(servers: Servers, count: int) -> list[UUID]:
    """Enqueue the jobs that are listened to."""
    async with Producer.connect_to(servers) as producer:
        await producer.billing.create_account("bench")
        await producer.billing.grant("bench", Decimal(1_000_000), "bench")
        request = TextToImage(prompt="bench", aspect_ratio="1:1")
        orders = [Order(request=request, account_id="bench") for _ in range(count)]
        return [job.id for job in await producer.enqueue_many(orders)]


@asynccontextmanager
async def api_process(home: str) -> AsyncIterator[tuple[int, int]]:
    """Run `darkroom api` and wait until it answers; yields its process id and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environ = {
        **os.environ,
        "DARKROOM_HOME": home,
        "API_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    api = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", "api"), env=environ
    )
    try:
        await until_ready(port)
        yield api.pid, port
    finally:
        api.terminate()
        await api.wait()


async def until_ready(port: int) -> None:
    """Wait until the API can serve."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def measure(
    servers: Servers,
    pid: int,
    port: int,
    paths: list[str],
    job_ids: list[UUID],
    events: int,
    rate: float,
) -> None:
    """Open the streams, write the events, and print what came of them."""
    context = multiprocessing.get_context("spawn")
    loop = asyncio.get_running_loop()
    before_mib = resident_mib(pid)
    pipe, far_pipe = context.Pipe()
    client = context.Process(target=hear, args=(port, paths, far_pipe))
    client.start()
    assert await loop.run_in_executor(None, pipe.recv) == "open"
    await asyncio.sleep(SETTLING_SECONDS)
    grown_mib = resident_mib(pid) - before_mib
    print(
        f"memory of the API: {before_mib:.1f} MiB before, {grown_mib:.1f} MiB more with the"
        f" listeners, {1024 * grown_mib / len(paths):.1f} KiB each"
    )
    busy_seconds = cpu_seconds(pid)
    committed = await write(servers, job_ids, events, rate)
    await asyncio.sleep(SETTLING_SECONDS)
    busy_seconds = cpu_seconds(pid) - busy_seconds
    pipe.send("tell")
    report(committed, await loop.run_in_executor(None, pipe.recv), len(paths), busy_seconds)
    client.join()


async def write(
    servers: Servers, job_ids: list[UUID], events: int, rate: float
) -> dict[int, float]:
    """Commit events at random moments of that mean rate; return when each was committed."""
    rng = random.Random(SEED)  # noqa: S311
    committed: dict[int, float] = {}
    async with (
        connect_database(servers.database_url, connections=4) as database,
        connect_redis(servers.redis_url) as redis,
    ):
        publisher = ChangePublisher(send_with(RedisScripts(redis)))
        due = time.monotonic()
        for _ in range(events):
            due += rng.expovariate(rate)
            await asyncio.sleep(max(due - time.monotonic(), 0))
            await write_one(database, publisher, rng.choice(job_ids), committed)
        await publisher.close()
    return committed


async def write_one(
    database: Database, publisher: ChangePublisher, job_id: UUID, committed: dict[int, float]
) -> None:
    """Commit one event and announce it, as a step of a worker does."""
    event_id = await database.pool.fetchval(_WRITE, job_id)
    committed[event_id] = time.time()
    publisher.publish(Change(job_id))


def report(
    committed: dict[int, float],
    arrivals: list[tuple[int, float]],
    listeners: int,
    busy_seconds: float,
) -> None:
    """Print the delays of the events that were written."""
    delays = [1000 * (at - committed[event]) for event, at in arrivals if event in committed]
    each = listeners if len(delays) > len(committed) else 1
    quantiles = statistics.quantiles(delays, n=100)
    print(
        f"{len(committed)} events committed, {len(delays)} of {len(committed) * each} arrivals:"
        f" commit to client p50 {quantiles[49]:.1f} ms, p95 {quantiles[94]:.1f} ms,"
        f" p99 {quantiles[98]:.1f} ms, max {max(delays):.1f} ms"
    )
    print(f"processor time of the API: {1e6 * busy_seconds / len(delays):.0f} µs per arrival")


if __name__ == "__main__":
    asyncio.run(main())
