"""`python -m bench.bulkheads`: how long ten jobs take while another account has a fault.

For each case one worker runs ten jobs of 3 s of the account `bench`, and then ten more during the
fault. Prints both times and their ratio.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import monotonic

import asyncpg

from bench.measurement.bench_deployment import ACCOUNT, BenchDeployment, open_bench_deployment
from bench.measurement.measured_process import end_on_sigterm, running
from bench.measurement.pipelines import DarkroomPipeline, log_folder
from producer import Job, JobState, Order, Producer
from shared.catalog.families.gpt4o_image import TextToImage

JOBS, JOB_SECONDS = 10, 3.0
TROUBLE = "acme"
LOCKED_SECONDS = 30.0
_NUMBERS = count(1)


def order_for(account_id: str, seconds: float, webhook_url: str | None = None) -> Order:
    """Return an order whose task takes that long."""
    prompt = f"[[sim: duration={seconds:g}]] picture {next(_NUMBERS)}"
    request = TextToImage(prompt=prompt, aspect_ratio="3:2")
    return Order(request=request, account_id=account_id, webhook_url=webhook_url)


async def ten_jobs(producer: Producer) -> float:
    """Return how long ten jobs of the account take until the last one has succeeded."""
    started_at = monotonic()
    jobs = await producer.enqueue_many([order_for(ACCOUNT, JOB_SECONDS) for _ in range(JOBS)])
    ended = await asyncio.gather(*(producer.wait(job.id, timeout_seconds=120) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}, ended
    return monotonic() - started_at


@asynccontextmanager
async def locked_account(deployment: BenchDeployment, producer: Producer) -> AsyncIterator[None]:
    """40 jobs end while another session holds the row of their account for 30 s."""
    jobs = await producer.enqueue_many([order_for(TROUBLE, 2.0) for _ in range(40)])
    await asyncio.gather(*(_is_generating(producer, job) for job in jobs))
    session = await asyncpg.connect(deployment.servers.database_url)
    await session.execute("BEGIN")
    await session.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", TROUBLE)
    locked_at = monotonic()
    try:
        await asyncio.sleep(2.5)  # until the first of the 40 wait for the row
        yield
        await asyncio.sleep(max(LOCKED_SECONDS - (monotonic() - locked_at), 0))
    finally:
        await session.close()
    await asyncio.gather(*(producer.wait(job.id, timeout_seconds=120) for job in jobs))


@asynccontextmanager
async def many_jobs(_: BenchDeployment, producer: Producer) -> AsyncIterator[None]:
    """500 jobs of one account end while the ten run."""
    jobs = await producer.enqueue_many([order_for(TROUBLE, 4.0) for _ in range(500)])
    yield
    await asyncio.gather(*(producer.wait(job.id, timeout_seconds=120) for job in jobs))


@asynccontextmanager
async def silent_receiver(_: BenchDeployment, producer: Producer) -> AsyncIterator[None]:
    """500 webhooks of one account go to a receiver that accepts and never answers."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        for job in await producer.enqueue_many([order_for(TROUBLE, 0.1, url) for _ in range(500)]):
            await producer.wait(job.id, timeout_seconds=120)
        yield
    finally:
        server.close()
        for writer in writers:
            writer.close()


@asynccontextmanager
async def bad_row(deployment: BenchDeployment, producer: Producer) -> AsyncIterator[None]:
    """The request of one queued job has a number that cannot be read."""
    job = await producer.enqueue(order_for(TROUBLE, 0.1).request, account_id=TROUBLE)
    session = await asyncpg.connect(deployment.servers.database_url)
    await session.execute("UPDATE jobs SET request = '{\"n\": 1e400}' WHERE id = $1", job.id)
    await session.close()
    yield


async def _is_generating(producer: Producer, job: Job) -> None:
    while (await producer.get(job.id)).state in {JobState.QUEUED, JobState.SUBMITTING}:
        await asyncio.sleep(0.1)


Case = Callable[[BenchDeployment, Producer], AbstractAsyncContextManager[None]]
CASES: dict[str, Case] = {
    "locked account row": locked_account,
    "500 jobs of one account": many_jobs,
    "silent receiver": silent_receiver,
    "one bad row": bad_row,
}


async def measure(case: Case) -> tuple[float, float]:
    """Return how long the ten jobs take without and with the fault."""
    end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with (
            open_bench_deployment(Path(folder), simulator=["--seed", "1"]) as deployment,
            Producer.connect_to(deployment.servers, webhooks_allow_loopback=True) as producer,
        ):
            await producer.billing.create_account(TROUBLE)
            await producer.billing.grant(TROUBLE, Decimal(1_000_000), "for the measurement")
            program = DarkroomPipeline().worker(deployment)
            environ = {**program.environ, "WEBHOOKS_ALLOW_LOOPBACK": "true"}
            logs, ready = log_folder(deployment, "darkroom"), program.ready
            async with running(program.arguments, environ, folder=logs, ready=ready):
                await ten_jobs(producer)  # it warms up
                alone = await ten_jobs(producer)
                async with case(deployment, producer):
                    beside = await ten_jobs(producer)
    return alone, beside


def main() -> None:
    """Measure every case and print a table."""
    sys.stdout.write(f"load average {os.getloadavg()[0]:.1f}\n\n")
    sys.stdout.write("| beside | alone, s | beside, s | ratio |\n|---|---|---|---|\n")
    for name, case in CASES.items():
        alone, beside = asyncio.run(measure(case))
        sys.stdout.write(f"| {name} | {alone:.1f} | {beside:.1f} | {beside / alone:.2f} |\n")
        sys.stdout.flush()
    sys.stdout.write(f"\nload average {os.getloadavg()[0]:.1f} at the end\n")


if __name__ == "__main__":
    main()
