"""How much disk ended jobs use, before they are pruned and after.

Run with `python -m bench.disk [--jobs 100000]`: fills an embedded Postgres with ended jobs and all
their rows, prunes them as a worker does, once at its pace beside orders, and prints the sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import orjson

from bench.scaling.history_databases import Size, create_history_database
from producer.jobs.job_repository import JobRepository
from producer.orders.order import Order
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.servers import open_servers
from shared.settings import Settings
from tests.support.deployment import text_to_image
from worker.pruning import BATCH_JOBS, PAUSE_PER_STATEMENT

_DAYS = orjson.dumps(
    {"events": 90, "callbacks": 90, "webhooks": 90, "prompts": 400, "jobs": 400}
).decode()
_MAKE_OLD = """
SET LOCAL session_replication_role = replica;
UPDATE jobs SET finished_at = finished_at - interval '500 days', idempotency_key = 'order-' || id,
       request = request || jsonb_build_object('prompt', repeat(md5(id::text), 10)),
       metadata = jsonb_build_object('order', id);
UPDATE job_events SET at = at - interval '500 days';
"""
_SIZES = """
SELECT relname, pg_total_relation_size(oid) AS bytes FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
   AND pg_total_relation_size(oid) > 200000 ORDER BY 2 DESC
"""
_ORDERS = 300


async def main() -> None:
    """Fill, prune, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        async with open_servers(Settings(darkroom_home=Path(home))) as servers:
            url = await create_history_database(
                servers.database_url, Size(ended=jobs, queued=0, accounts=100)
            )
            async with connect_database(url, connections=3) as database:
                await measure(database, jobs)


async def measure(database: Database, jobs: int) -> None:
    """Print the sizes, the times of the statements, and those of orders beside them."""
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute(_MAKE_OLD, timeout=1_800)
    alone = await order(database, _ORDERS)
    sizes = {"before": await read_sizes(database, "VACUUM FULL")}
    beside: list[float] = []
    stop = asyncio.Event()

    async def order_meanwhile() -> None:
        while not stop.is_set():
            beside.extend(await order(database, 1))
            await asyncio.sleep(0.02)

    orders = asyncio.create_task(order_meanwhile())
    statements = await prune(database)
    stop.set()
    await orders
    sizes["pruned, files"] = await read_sizes(database, "VACUUM")
    sizes["pruned, rows"] = await read_sizes(database, "VACUUM FULL")
    print(f"MB per 100,000 ended jobs, of {jobs:,}")
    for table in ("jobs", "job_events", "ledger_entries", "job_attempts", "all"):
        cells = (f"{of.get(table, 0) / 10 / jobs:8.0f} {name}" for name, of in sizes.items())
        print(f"  {table:16}", *cells)
    print(
        f"{len(statements):,} statements of {BATCH_JOBS} jobs: median"
        f" {statistics.median(statements) * 1e3:.0f} ms, longest {max(statements) * 1e3:.0f} ms"
    )
    for name, times in (("alone", alone), ("while it prunes", beside)):
        p95 = statistics.quantiles(times, n=20)[-1]
        print(
            f"an order {name}: median {statistics.median(times) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f}"
        )


async def prune(database: Database) -> list[float]:
    """Prune as a worker does, and return the seconds of each statement."""
    statements: list[float] = []
    while True:
        started = time.monotonic()
        rows = await database.fetch("prune_at_interval", _DAYS, BATCH_JOBS)
        if not rows:
            return statements
        statements.append(time.monotonic() - started)
        await asyncio.sleep(PAUSE_PER_STATEMENT * statements[-1])


async def order(database: Database, count: int) -> list[float]:
    """Enqueue jobs one after the other, and return the seconds of each."""
    times = []
    for _ in range(count):
        started = time.monotonic()
        await JobRepository(database).insert([Order(request=text_to_image(), account_id="a1")])
        times.append(time.monotonic() - started)
    return times


async def read_sizes(database: Database, vacuum: str) -> dict[str, int]:
    """Return the bytes of each table with its indexes, after this VACUUM."""
    async with database.pool.acquire() as connection:
        await connection.execute(vacuum, timeout=1_800)
        rows = await connection.fetch(_SIZES)
    sizes = {row["relname"]: row["bytes"] for row in rows}
    return {**sizes, "all": sum(sizes.values())}


if __name__ == "__main__":
    asyncio.run(main())
