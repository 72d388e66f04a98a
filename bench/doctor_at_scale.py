"""The duration of the doctor and of the queue snapshot on a large database.

Run with `python -m bench.doctor_at_scale [--jobs 1000000]`: fills an embedded Postgres with ended
jobs and their books, written by SQL alone, and times every invariant and the queue's snapshot.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from producer.doctor import check_invariants, connect_for_checks
from shared.adapters.monitoring.queue_snapshot import read_snapshot
from shared.adapters.postgres.database import Database
from shared.adapters.servers import open_servers
from shared.settings import Settings

ACCOUNTS = 1_000

# Jobs that succeeded for 6 credits each, spread over the accounts, and everything that goes with
# them. Written without triggers: the point is the size, and the doctor finds what is wrong.
_FILL = """
SET session_replication_role = replica;
INSERT INTO accounts (id, balance, held)
SELECT 'a' || n, 1000000 - 6 * ($1 / $2 + CASE WHEN n < $1 % $2 THEN 1 ELSE 0 END), 0
  FROM generate_series(0, $2 - 1) AS n;
INSERT INTO ledger_entries (account_id, kind, credits, balance_change, held_change, balance_after,
                            held_after, reason)
SELECT 'a' || n, 'grant', 1000000, 1000000, 0, 1000000, 0, 'bench'
  FROM generate_series(0, $2 - 1) AS n;
INSERT INTO audit_entries (act, actor, via, account_id, subject)
SELECT 'credits_granted', 'bench', 'sql', account_id, 'ledger_entries ' || id FROM ledger_entries;
CREATE TEMP TABLE made AS
SELECT n, gen_random_uuid() AS id, 'a' || n % $2 AS account_id,
       now() - make_interval(secs => 2 * n) AS at
  FROM generate_series(0, $1 - 1) AS n;
INSERT INTO jobs (id, account_id, model, task, quantity, request, state, progress,
                  provider_task_id, result_urls, credits_quoted, quoted_price_id, credits_charged,
                  price_id, charge_basis, attempt, created_at, run_at, due_at, attempted_at,
                  submitted_at, deadline_at, finished_at, updated_at)
SELECT id, account_id, 'gpt-4o-image', 'text-to-image', 1,
       jsonb_build_object('prompt', 'bench ' || n, 'aspect_ratio', '1:1', 'quantity', 1),
       'succeeded', 1, md5(n::text), ARRAY['https://example.com/' || n || '.png'], 6, price_id, 6,
       price_id, 'quoted', 1, at, at, at, at, at, at + interval '30 minutes',
       at + interval '35 seconds', at
  FROM made, pricing WHERE (task, quantity) = ('text-to-image', 1);
INSERT INTO job_attempts (job_id, number, token, worker, sent_at, answered_at, outcome,
                          provider_task_id)
SELECT id, 1, 'bench-token-' || id, 'bench', at, at, 'accepted', md5(n::text) FROM made;
INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,
                            balance_after, held_after, price_id)
SELECT account_id, id, kind, 6, CASE kind WHEN 'hold' THEN 0 ELSE -6 END,
       CASE kind WHEN 'hold' THEN 6 ELSE -6 END, 0, 0, price_id
  FROM made, pricing, (VALUES ('hold'), ('capture')) AS kinds (kind)
 WHERE (task, quantity) = ('text-to-image', 1);
SET session_replication_role = DEFAULT;
ANALYZE;
"""


async def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1_000_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as home:
        async with (
            open_servers(Settings(darkroom_home=Path(home))) as servers,
            connect_for_checks(servers.database_url) as database,
        ):
            started_at = time.monotonic()
            await fill(database, jobs)
            print(f"{jobs:,} jobs written in {time.monotonic() - started_at:.0f} s")
            await measure(database)


async def fill(database: Database, jobs: int) -> None:
    """Write the jobs and their ledger entries."""
    async with database.pool.acquire() as connection:
        for statement in _FILL.strip().split(";\n"):
            sized = statement.replace("$1", str(jobs)).replace("$2", str(ACCOUNTS))
            await connection.execute(sized, timeout=1_800)


async def measure(database: Database) -> None:
    """Time each invariant, and the queue snapshot."""
    begun_at = last_at = time.monotonic()
    async for finding in check_invariants(database):
        now = time.monotonic()
        result = "holds " if finding.ok else "BROKEN"
        print(f"{result} {now - last_at:7.2f} s  {finding.name}")
        last_at = now
    print(f"all invariants: {last_at - begun_at:.2f} s")
    timings = []
    for _ in range(11):
        asked_at = time.monotonic()
        await read_snapshot(database)
        timings.append(1000 * (time.monotonic() - asked_at))
    print(f"queue snapshot: median {sorted(timings)[5]:.1f} ms, max {max(timings):.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
