"""The figure P8: what statements cost in a large database ÷ in a small one.

The statements are those of `sql/queries`, called as the worker and the producer call them, with
commits on disk. In every round both databases get the same work, in alternating order: jobs are
enqueued, others are chosen, claimed, submitted and settled, lists are read page by page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from bench.measurement.run_statistics import Spread, spread
from bench.scaling.history_databases import Size, open_histories
from producer.jobs.job_filter import JobFilter
from producer.jobs.job_repository import JobRepository
from producer.list_pages import PAGE_BYTES
from producer.monitoring.latest_failures import read_failures
from producer.orders.order import Order
from shared.adapters.monitoring.queue_snapshot import read_snapshot
from shared.adapters.postgres.database import Database
from shared.catalog.families.gpt4o_image import TextToImage
from shared.domain import job_events
from shared.domain.lifecycle import JobState, event_name, transition_of
from shared.kie_accounts import DEFAULT_ACCOUNT
from worker.recovery.reconciler import PAGE_LENGTH

TOGETHER = 10
"""Jobs in one statement of a move, as at a busy worker."""
TIMES = 20
"""The runs of each statement in a round. Its cost is their median."""
_PAGE = 50
_RECONCILED = 1_000
"""Rows of a reconciler's page: as many as the small database has. A worker uses `PAGE_LENGTH`."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_LOWEST_ID = UUID(int=0)

MOVES = ("enqueue", "choose", "claim", "submitted", "settle")
LISTS = (
    *("list, all", "list, failed", "list, one account", "list, one account's succeeded"),
    *("three pages of an account", "ledger of an account", "timeline of a job", "last failures"),
)
CHORES = ("load", "reconcile, fresh", "reconcile, a page", "overdue unknown")
FIRST_SCREEN = "first screen"

assert _RECONCILED <= PAGE_LENGTH


@dataclass(slots=True)
class StatementCosts:
    """Seconds of every statement by name: one median per round, for both databases."""

    small: dict[str, list[float]] = field(default_factory=dict)
    large: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, name: str) -> Spread:
        """Return the cost in the large database ÷ in the small one, over the rounds."""
        pairs = zip(self.large[name], self.small[name], strict=True)
        return spread([large / small for large, small in pairs])

    def milliseconds(self, name: str) -> tuple[float, float]:
        """Return the medians over the rounds: small, large."""
        return 1000 * median(self.small[name]), 1000 * median(self.large[name])


async def measure_history(large: Size, rounds: int) -> StatementCosts:
    """Fill both databases and run the rounds, after one that is not counted."""
    costs = StatementCosts()
    async with open_histories(large) as (small, big):
        for number in range(-1, rounds):
            pairs = [(small, costs.small), (big, costs.large)]
            for database, into in pairs[:: 1 if number % 2 == 0 else -1]:
                timings = await _round(database)
                if number >= 0:
                    for name, seconds in timings.items():
                        into.setdefault(name, []).append(median(seconds))
            sys.stderr.write(f"statements, round {number + 1} of {rounds}\n")
    return costs


class _Stopwatch:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @asynccontextmanager
    async def timing(self, name: str) -> AsyncIterator[None]:
        """Time the block."""
        started_at = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - started_at)


async def _round(database: Database) -> dict[str, list[float]]:
    watch = _Stopwatch()
    for number in range(TIMES):
        await _move(database, watch)
        for name, read in _reads(database, f"a{number % 10}").items():
            async with watch.timing(name):
                await read()
    for _ in range(TIMES):
        async with watch.timing(FIRST_SCREEN):
            await read_snapshot(database)
    return watch.seconds


def _guard(event: type[job_events.Event]) -> tuple[list[str], str, str]:
    transition = transition_of(event)
    return [state.value for state in transition.sources], transition.target.value, event_name(event)


async def _move(database: Database, watch: _Stopwatch) -> None:
    """Enqueue some jobs, and end as many of those that are next."""
    book = JobRepository(database)
    request = TextToImage(prompt="one more", aspect_ratio="1:1")
    async with watch.timing("enqueue"):
        orders = [Order(request=request, account_id=f"a{number}") for number in range(TOGETHER)]
        await book.insert(orders)
    async with watch.timing("choose"):
        [row] = await database.fetch("choose_jobs", TOGETHER, [])
    ids = sorted(UUID(int=one.int) for one in row["chosen"])
    async with watch.timing("load"):
        await database.fetch("jobs_to_run", ids)
    first = [1] * len(ids)
    sources, target, name = _guard(job_events.Claimed)
    async with watch.timing("claim"):
        tokens = [f"bench-token-{uuid4().hex}" for _ in ids]
        accounts = [DEFAULT_ACCOUNT] * len(ids)
        rows = await database.fetch(
            *("claim_jobs", "0", ids, tokens, accounts, [None] * len(ids)),
            *(sources, target, "bench", name),
        )
    _expect(rows, ids)
    sources, target, name = _guard(job_events.Submitted)
    async with watch.timing("submitted"):
        tasks = [uuid4().hex for _ in ids]
        rows = await database.fetch(
            "record_submitted", "0", ids, first, tasks, sources, target, 1800.0, name
        )
    _expect(rows, ids)
    sources, target, name = _guard(job_events.Completed)
    async with watch.timing("settle"):
        urls = ['["https://example.com/1.png"]'] * len(ids)
        unknown: list[None] = [None] * len(ids)
        values = (ids, first, urls, first, unknown, unknown, unknown)
        rows = await database.fetch(
            "settle_jobs", "0", *values, sources, target, "current", name, None
        )
    _expect(rows, ids)


def _expect(rows: Sequence[asyncpg.Record], ids: Sequence[UUID]) -> None:
    if len(rows) != len(ids):
        raise RuntimeError(f"{len(rows)} of {len(ids)} jobs were moved: that is not the same work")


def _reads(database: Database, account: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return the reads by name. Every list fills its page in both databases."""
    book = JobRepository(database)
    own = JobFilter(account_id=account)
    own_successes = JobFilter(account_id=account, state=JobState.SUCCEEDED)

    async def three_pages() -> None:
        below = None
        for _ in range(3):
            page = await book.list(own, below=below, limit=_PAGE)
            below = page[-1].id

    async def timeline() -> None:
        (newest,) = await book.list(own_successes, below=None, limit=1)
        await database.fetch("list_events", newest.id)

    return {
        "list, all": lambda: book.list(JobFilter(), below=None, limit=_PAGE),
        "list, failed": lambda: book.list(
            JobFilter(state=JobState.FAILED), below=None, limit=_PAGE
        ),
        "list, one account": lambda: book.list(own, below=None, limit=_PAGE),
        "list, one account's succeeded": lambda: book.list(own_successes, below=None, limit=_PAGE),
        "three pages of an account": three_pages,
        "ledger of an account": lambda: database.fetch(
            "list_ledger", account, None, _PAGE, PAGE_BYTES
        ),
        "timeline of a job": timeline,
        "last failures": lambda: read_failures(database),
        "reconcile, fresh": lambda: database.fetch("fresh_open_jobs", 60.0, 2.0, _RECONCILED),
        "reconcile, a page": lambda: database.fetch(
            "open_jobs_after", "", _LONG_AGO, _LOWEST_ID, _RECONCILED, 2.0
        ),
        "overdue unknown": lambda: database.fetch("overdue_unknown_jobs", 86_400.0, _RECONCILED),
    }
