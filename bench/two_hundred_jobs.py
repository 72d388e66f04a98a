"""Two hundred jobs through one worker against the simulator with Kie's limits and latencies on.

Run with `make bench`. Prints how the jobs ended, whether the books hold, and the simulator's own
record of what it was asked and paid for.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Literal

import aiohttp

from producer import Order, Producer, TextToImage
from producer.doctor import check_invariants
from shared.adapters.postgres.database import connect_database
from shared.adapters.servers import Servers, open_servers
from shared.settings import Settings

JOBS = 200
QUANTITIES: tuple[Literal[1, 2, 4], ...] = (1, 2, 4)


async def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as home:
        async with open_servers(Settings(darkroom_home=Path(home))) as servers:
            await run(servers, Path(home))


async def run(servers: Servers, home: Path) -> None:
    """Enqueue all jobs at once, wait for the last end, and let the simulator speak."""
    assert servers.embedded is not None
    simulator = [sys.executable, "-m", "worker.simulator", "--duration", "8", "--seed", "7"]
    kie = servers.embedded.ensure_process("kie", simulator)
    environ = {
        **os.environ,
        "DARKROOM_HOME": str(home),
        "KIE_API_KEY": kie["api_key"],
        "KIE_BASE_URL": kie["base_url"],
        "WORKER_HTTP_PORT": "0",
        "LOG_LEVEL": "WARNING",
    }
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "worker", env=environ)
    try:
        await drive(servers)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{kie['base_url']}/simulator/record") as answer,
        ):
            print("the simulator's record:")
            print(json.dumps(await answer.json(), indent=2))
    finally:
        worker.terminate()
        await worker.wait()


async def drive(servers: Servers) -> None:
    """Enqueue, wait, and print ends and books."""
    async with Producer.connect_to(servers) as producer:
        await producer.billing.create_account("bench")
        await producer.billing.grant("bench", Decimal(10_000), "bench")
        orders = [
            Order(
                request=TextToImage(
                    prompt=f"bench {number}", aspect_ratio="1:1", quantity=QUANTITIES[number % 3]
                ),
                account_id="bench",
            )
            for number in range(JOBS)
        ]
        started_at = time.monotonic()
        jobs = await producer.enqueue_many(orders)
        ended = await asyncio.gather(*(producer.wait(job.id, timeout_seconds=900) for job in jobs))
        print(f"{JOBS} jobs ended after {time.monotonic() - started_at:.1f} s")
        print("ends:", dict(Counter(job.state.value for job in ended)))
        charged = sum((job.credits_charged or Decimal(0) for job in ended), Decimal(0))
        account = await producer.balance("bench")
        print(f"charged {charged}; balance {account.balance} of 10000, held {account.held}")
    async with connect_database(servers.database_url, connections=1) as database:
        async for finding in check_invariants(database):
            print(f"{'holds ' if finding.ok else 'BROKEN'}  {finding.name}: {finding.detail}")


if __name__ == "__main__":
    asyncio.run(main())
