"""The duration of the operator's pages with 1,000,000 jobs, and the cost of the queue's history.

Run with `python -m bench.overview [--ended 1000000] [--queued 100000]`: fills an embedded Postgres
with jobs by SQL, with all their rows, and times the overview and each of its statements, the
history, the list of jobs with each filter and with each pair of them, the page of a job, each page
of the console as the API serves it, and the statement that samples the history. Each is called as
the API or the worker calls it, one after the other, on a machine that does nothing else. `--filters
3` takes each three filters as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import aiohttp
from pydantic import SecretStr

from bench.scaling.history_databases import LARGE, Size, create_history_database
from bench.scaling.list_filters import combine_filters
from producer.api import serving_api
from producer.client import Producer
from producer.console.page import CONSOLE, Action, Page
from producer.console.page_table import ACTIONS, PAGES
from producer.jobs.job_filter import JobFilter
from producer.monitoring.latest_failures import read_failures, read_late_deliveries
from producer.monitoring.overview import OverviewReader
from shared.adapters.monitoring.alert_monitor import read_alerts
from shared.adapters.monitoring.queue_snapshot import read_day_totals, read_snapshot
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.postgres.named_queries import get_query
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers, open_servers
from shared.domain.lifecycle import Reason
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.settings import Settings

TIMES = 21
INTERVAL_SECONDS = 15
LIST_SECONDS = 0.030
"""What a list may take."""
SLOWEST = 12
ACCOUNTS = (DEFAULT_ACCOUNT,)
KIE_ACCOUNTS = {
    DEFAULT_ACCOUNT: {"budget": 20, "budget_used": 12, "brake_level": 0, "is_paused": False}
}
# A day of short samples and eight days of long ones, as they are once the history is full.
_FILL_HISTORY = """
INSERT INTO history_samples
SELECT (jsonb_populate_record(one, jsonb_build_object(
            'starts_at', one.starts_at - number * make_interval(secs => one.interval_seconds)))).*
  FROM history_samples AS one,
       LATERAL generate_series(1, CASE one.interval_seconds WHEN 15 THEN 5999 ELSE 2303 END)
           AS number
"""
_FORGET_SAMPLES = "DELETE FROM history_samples WHERE starts_at > now() - interval '20 minutes'"

Read = Callable[[], Awaitable[Any]]


async def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ended", type=int, default=LARGE.ended, help="jobs that have ended")
    parser.add_argument("--queued", type=int, default=LARGE.queued, help="jobs that wait")
    parser.add_argument("--filters", type=int, default=2, help="the most filters of one list")
    options = parser.parse_args()
    size = Size(ended=options.ended, queued=options.queued, accounts=LARGE.accounts)
    async with _open_filled(size) as (database, producer, servers):
        version = await database.pool.fetchval("SHOW server_version")
        print(f"Python {sys.version.split()[0]}, Postgres {version}")
        print(f"{size.ended:,} jobs have ended, one every 2 s; {size.queued:,} wait")
        await _print_history_cost(database)
        await _print_totals_cost(database)
        async with connect_redis(servers.redis_url, connections=4) as redis:
            alerts = partial(read_alerts, database, redis, ACCOUNTS)
            # A clock that advances by a second at each read, so that no read uses the cache.
            reader = OverviewReader(database, redis, ACCOUNTS, alerts, monotonic=count().__next__)
            await _print_timings("overview", {"the whole overview": reader.read})
            await _print_timings("of it", _statements(database, alerts))
        histories: dict[str, Read] = {
            f"{hours} h": partial(producer.history, hours) for hours in (1, 24, 168)
        }
        await _print_timings("history", histories)
        await _print_timings("list of jobs, 50 rows", await _lists(producer, database))
        for count_of_filters in range(2, options.filters + 1):
            await _print_combinations(producer, database, count_of_filters)
        await _print_timings("page of a job", {"job and details": await _job_page(producer)})
        await _print_console_timings(servers, producer)
        await _print_plans(database)


@asynccontextmanager
async def _open_filled(size: Size) -> AsyncIterator[tuple[Database, Producer, Servers]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        async with open_servers(Settings(darkroom_home=Path(home))) as embedded:
            url = await create_history_database(embedded.database_url, size, varied=True)
            servers = replace(embedded, database_url=url)
            async with (
                connect_database(url, connections=8, clamps_timestamps=True) as database,
                Producer.connect_to(servers) as producer,
            ):
                yield database, producer, servers


def _statements(database: Database, alerts: Read) -> dict[str, Read]:
    return {
        "figures": partial(read_snapshot, database),
        "alerts": alerts,
        "today": partial(read_day_totals, database),
        "last failures": partial(read_failures, database),
        "late deliveries": partial(read_late_deliveries, database),
    }


async def _lists(producer: Producer, database: Database) -> dict[str, Read]:
    """Return a list with each filter that finds jobs here, and with some that find none."""
    row = dict(
        await database.pool.fetchrow(
            "SELECT id, provider_task_id, created_at FROM jobs WHERE state = 'succeeded'"
            " ORDER BY id DESC LIMIT 1"
        )
        or {}
    )
    filters: Mapping[str, dict[str, Any]] = {
        "none": {},
        "state failed": {"state": "failed"},
        "state queued": {"state": "queued"},
        "account": {"account_id": "a7"},
        "account with 275,000 jobs": {"account_id": "acme"},
        "account without jobs": {"account_id": "nobody"},
        "account and state": {"account_id": "a7", "state": "failed"},
        "reason": {"reason": str(Reason.PROVIDER_FAILED)},
        "reason that no job has": {"reason": str(Reason.SUBMISSION_LOST)},
        "model": {"model": "gpt-4o-image"},
        "model that no job has": {"model": "gpt-image-1.5"},
        "task": {"task": "image-to-image"},
        "priority": {"priority": "high"},
        "created before": {"created_to": row["created_at"]},
        "Kie's task id": {"provider_task_id": row["provider_task_id"]},
        "idempotency key": {"idempotency_key": "order-1042"},
        "metadata of one job": {"metadata": "order=1042"},
        "metadata of no job": {"metadata": "none=none"},
        "metadata of 880,000 jobs": {"metadata": "env=live"},
        "id": {"id": UUID(int=row["id"].int)},
        "not retried, failed": {"state": "failed", "retried": "false"},
    }
    middle, oldest = [
        await database.pool.fetchval("SELECT id FROM jobs ORDER BY id OFFSET $1 LIMIT 1", place)
        for place in (await database.pool.fetchval("SELECT count(*) / 2 FROM jobs"), 50)
    ]
    reads: dict[str, Read] = {
        name: partial(producer.page, where=JobFilter(**given)) for name, given in filters.items()
    }
    reads["a page of the middle"] = partial(producer.page, below=UUID(int=middle.int))
    reads["the oldest page"] = partial(producer.page, below=UUID(int=oldest.int))
    return reads


async def _print_combinations(producer: Producer, database: Database, size: int) -> None:
    """Print the slowest lists with so many filters. Each is read once, and the slow ones again."""
    newest = await database.pool.fetchval("SELECT max(created_at) FROM jobs WHERE state = 'failed'")
    found = []
    for where in combine_filters(newest, size):
        read = partial(producer.page, where=where)
        seconds = await _time(read)
        if seconds > LIST_SECONDS:
            seconds = min([seconds, *[await _time(read) for _ in range(4)]])
        found.append((seconds, where))
    found.sort(key=lambda one: -one[0])
    slow = sum(seconds > LIST_SECONDS for seconds, _ in found)
    print(f"\nlists with {size} filters: {len(found):,}")
    print(f"  median {1000 * median(seconds for seconds, _ in found):.1f} ms")
    print(f"  above {1000 * LIST_SECONDS:.0f} ms in each of five calls: {slow}")
    for seconds, where in found[:SLOWEST]:
        texts = ", ".join(f"{name} {text}" for name, text in where.to_texts().items())
        print(f"  {1000 * seconds:6.1f} ms  {texts}")


async def _time(read: Read) -> float:
    started_at = time.perf_counter()
    await read()
    return time.perf_counter() - started_at


async def _job_page(producer: Producer) -> Read:
    (newest,) = await producer.list(where=JobFilter(state="succeeded"), limit=1)

    async def read() -> None:
        await producer.get(newest.id)
        await producer.job_details(newest.id)

    return read


async def _print_console_timings(servers: Servers, producer: Producer) -> None:
    """Print what `Server-Timing` says of each page: the time from the request to its response."""
    (newest,) = await producer.list(where=JobFilter(state="failed"), limit=1)
    shown: list[Page | Action] = [page for page in PAGES if not page.is_stream]
    shown += [action for action in ACTIONS if action.form is not None]
    price = {"model": newest.model, "task": newest.task, "quantity": str(newest.quantity)}
    parts = {
        "jobs": {"id": str(newest.id)},
        "accounts": {"id": newest.account_id},
        "prices": price,
    }
    paths = {one.name: _fill_path(one.path, parts) for one in shown}
    known = {
        # The forms of acts on many jobs name at least one.
        name: f"{path}?job={newest.id}" if path.startswith("/jobs/many/") else path
        for name, path in paths.items()
        if "{" not in path
    }
    settings = Settings(
        database_url=SecretStr(servers.database_url),
        redis_url=SecretStr(servers.redis_url or ""),
        api_port=0,
    )
    print("\npages of the console, on the server")
    async with (
        serving_api(settings) as addresses,
        aiohttp.ClientSession(f"http://{addresses[0]}") as session,
    ):
        for name, path in known.items():
            timings = [await _server_seconds(session, CONSOLE + path) for _ in range(TIMES + 1)]
            print(f"  {name:28} {_milliseconds(timings[1:])}")
    if skipped := sorted(set(paths) - set(known)):
        print(f"  not measured: {', '.join(skipped)}")


def _fill_path(path: str, parts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the path with the parts in braces, which are known by its first word."""
    for name, value in parts.get(path.split("/")[1] if path else "", {}).items():
        path = path.replace(f"{{{name}}}", value)
    return path


async def _server_seconds(session: aiohttp.ClientSession, path: str) -> float:
    async with session.get(path) as response:
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{path} answers {response.status}: {await response.text()}")
        return float(response.headers["Server-Timing"].partition("dur=")[2]) / 1000


async def _print_history_cost(database: Database) -> None:
    seconds = []
    for _ in range(TIMES):
        await database.pool.execute(_FORGET_SAMPLES)
        started_at = time.perf_counter()
        rows = await database.fetch("sample_history", KIE_ACCOUNTS)
        seconds.append(time.perf_counter() - started_at)
        if not rows:
            raise RuntimeError("nothing was sampled")
    print(f"\nsampling, both intervals at once: {_milliseconds(seconds)}")
    print(f"  {100 * median(seconds) / INTERVAL_SECONDS:.2f} % of the {INTERVAL_SECONDS} s")
    await database.pool.execute(_FILL_HISTORY)
    await database.pool.execute("VACUUM ANALYZE history_samples")
    rows = await database.pool.fetchval("SELECT count(*) FROM history_samples")
    size = await database.pool.fetchval("SELECT pg_total_relation_size('history_samples')")
    each = size / rows
    print(f"history when full: {rows:,} rows, {size / 1e6:.1f} MB, {each:.0f} bytes a row")
    print(f"  short intervals: {5760 * each / 1e6:.1f} MB a day; long ones: {288 * each / 1e6:.2f}")


async def _print_totals_cost(database: Database) -> None:
    """Write the totals of the past, as a worker has done long before there are so many jobs."""
    seconds = []
    is_more = True
    while is_more:
        started_at = time.perf_counter()
        is_more = (await database.fetch("sum_settlements"))[0]["is_more"]
        seconds.append(time.perf_counter() - started_at)
    await database.pool.execute("VACUUM ANALYZE hourly_totals, daily_account_totals")
    print(f"totals of the past: {len(seconds)} days, each {_milliseconds(seconds)}")


async def _print_timings(title: str, reads: Mapping[str, Read]) -> None:
    print(f"\n{title}")
    for name, read in reads.items():
        await read()
        seconds = [await _time(read) for _ in range(TIMES)]
        print(f"  {name:28} {_milliseconds(seconds)}")


def _milliseconds(seconds: list[float]) -> str:
    return f"median {1000 * median(seconds):6.1f} ms, max {1000 * max(seconds):6.1f} ms"


async def _print_plans(database: Database) -> None:
    """Print the statements that scan the whole table of jobs."""
    print("\nsequential scans of jobs")
    for name, arguments in (("queue_snapshot", (300.0,)), ("day_totals", ())):
        text = await database.pool.fetchval(f"EXPLAIN (FORMAT JSON) {get_query(name)}", *arguments)
        nodes = list(_nodes(json.loads(text)[0]["Plan"]))
        if not any(node.get("Relation Name") == "jobs" for node in nodes):
            raise RuntimeError(f"the plan of {name} does not show how jobs are read")
        scans = [
            node
            for node in nodes
            if node["Node Type"] == "Seq Scan" and node.get("Relation Name") == "jobs"
        ]
        print(f"  {name:28} {len(scans)}")


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", []) for node in _nodes(below))]


if __name__ == "__main__":
    asyncio.run(main())
