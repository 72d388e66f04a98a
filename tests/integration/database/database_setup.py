"""Sets up one database: accounts, jobs in any state, any SQL, and snapshots of all tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from producer.billing import Billing
from producer.doctor import check_invariants
from producer.jobs.job_repository import JobRepository
from producer.orders.order import Order
from shared.adapters.postgres.database import Database, translated_postgres_errors
from shared.catalog import ImageRequest
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.job_events import Event
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused
from shared.settings import ChargeBasis
from tests.support.deployment import text_to_image
from tests.support.example_jobs import polled
from worker.store.job_store import JobStore

Snapshot = Mapping[str, frozenset[tuple[object, ...]]]
Move = Callable[["DatabaseSetup", Job], Awaitable[Job | None]]


def claimed() -> job_events.Claimed:
    return job_events.Claimed(uuid4().hex, "worker-1", "default")


def submitted() -> job_events.Submitted:
    return job_events.Submitted(provider_task_id=f"task-{uuid4().hex}", deadline_seconds=60)


def deferred(delay_seconds: float = 0) -> job_events.Deferred:
    return job_events.Deferred("rate_limited", "slow down", delay_seconds)


def completed(images: int = 1) -> job_events.Completed:
    return job_events.Completed(tuple(f"https://images.example/{n}.png" for n in range(images)))


async def _progress(setup: DatabaseSetup, job: Job) -> None:
    await setup.store.record_progress(polled(job), job_events.Progressed(0.5))


async def _find_route_unfit(setup: DatabaseSetup, job: Job) -> None:
    """Record that the job waits for a route, while another is in force."""
    await setup.route("4o-image-api")
    event = job_events.RouteUnfit("4o-image-api", "quantity: is 2", 3600)
    try:
        await setup.store.record_route_unfit(job, event)
    finally:
        await setup.route("gpt-4o-image")


async def _defer_cancelled(setup: DatabaseSetup, job: Job) -> None:
    """Defer an attempt whose cancel was requested."""
    await setup.sql(
        "UPDATE jobs SET cancel_requested_at = now(), cancel_reason = 'cancelled_by_caller'"
        " WHERE id = $1 AND attempt = $2 AND state IN ('submitting', 'unknown')",
        job.id,
        job.attempt,
    )
    await setup.store.record_deferred(job, deferred())


MOVES: Mapping[type[Event], Move] = {
    job_events.Claimed: lambda setup, job: setup.store.claim(job, claimed()),
    job_events.RouteUnfit: _find_route_unfit,
    job_events.Cancelled: lambda setup, job: setup.book.cancel(job.id),
    job_events.Submitted: lambda setup, job: setup.store.record_submitted(job, submitted()),
    job_events.Deferred: lambda setup, job: setup.store.record_deferred(job, deferred()),
    job_events.CancelledOnDeferral: _defer_cancelled,
    job_events.Rejected: lambda setup, job: setup.store.reject(job, job_events.Rejected("no")),
    job_events.OutcomeUnknown: lambda setup, job: setup.store.record_unknown(
        job, job_events.OutcomeUnknown("reply_lost", "no reply came")
    ),
    job_events.SubmissionLost: lambda setup, job: setup.store.lose_submission(
        job.id, job.attempt, job_events.SubmissionLost("no evidence")
    ),
    job_events.Progressed: _progress,
    job_events.HeldForReview: lambda setup, job: setup.store.hold_for_review(
        polled(job), job_events.HeldForReview("result_unreadable", "no image URL", "{}")
    ),
    job_events.Completed: lambda setup, job: setup.settle(job),
    job_events.ProviderFailed: lambda setup, job: setup.store.fail(
        polled(job), job_events.ProviderFailed("provider_failed", "no images")
    ),
    job_events.DeadlineExceeded: lambda setup, job: setup.exceed_deadline(job),
}
"""How to make each event of the lifecycle table happen in the database."""

_WAYS: Mapping[JobState, tuple[type[Event], ...]] = {
    JobState.QUEUED: (),
    JobState.SUBMITTING: (job_events.Claimed,),
    JobState.UNKNOWN: (job_events.Claimed, job_events.OutcomeUnknown),
    JobState.GENERATING: (job_events.Claimed, job_events.Submitted),
    JobState.SUCCEEDED: (job_events.Claimed, job_events.Submitted, job_events.Completed),
    JobState.FAILED: (job_events.Claimed, job_events.Submitted, job_events.ProviderFailed),
    JobState.CANCELLED: (job_events.Cancelled,),
}


class DatabaseSetup:
    """The calls of producer, worker and admin to one database, without Redis."""

    billing: Billing
    book: JobRepository
    store: JobStore

    def __init__(self, database: Database) -> None:
        self.database = database
        self.billing = Billing(database)
        self.book = JobRepository(database)
        self.store = JobStore(database)

    async def open_account(self, name: str = "acme", credits: int = 1_000) -> None:
        """Create an account with that many credits."""
        await self.billing.create_account(name)
        if credits:
            await self.billing.grant(name, Decimal(credits), "for the test")

    async def enqueue(
        self, request: ImageRequest | None = None, *, account_id: str = "acme", **options: Any
    ) -> Job:
        """Insert one job, by default a text-to-image job of `acme`."""
        asked = request or text_to_image()
        order = Order(request=asked, account_id=account_id, **options)
        return (await self.book.insert([order]))[0].job

    async def move(self, job: Job, *happened: type[Event]) -> Job:
        """Make these events happen to the job, and return the job after them."""
        for event in happened:
            await MOVES[event](self, await self.store.load(job.id))
        return await self.store.load(job.id)

    async def job_in(self, state: JobState, *, attempt: int | None = None, **options: Any) -> Job:
        """Return a new job in this state, on this attempt if one is given."""
        job = await self.enqueue(**options)
        way = _WAYS[state]
        spent = (attempt or 0) - way.count(job_events.Claimed)
        for _ in range(max(spent, 0)):
            await self.move(job, job_events.Claimed, job_events.Deferred)
        return await self.move(job, *way)

    async def exceed_deadline(self, job: Job) -> Job:
        """Move the deadline of this attempt into the past, if it has one, and end the job by it."""
        await self.sql(
            "UPDATE jobs SET deadline_at = now()"
            " WHERE id = $1 AND attempt = $2 AND state = 'generating'",
            job.id,
            job.attempt,
        )
        return await self.store.exceed_deadline(
            polled(job), job_events.DeadlineExceeded("too late")
        )

    async def settle(self, job: Job, *, images: int = 1, basis: ChargeBasis = "current") -> Job:
        """Let Kie deliver that many images. Returns the job as it is then."""
        await self.store.settle(polled(job), completed(images), basis)
        return await self.store.load(job.id)

    async def route(self, via: str) -> None:
        """Send the jobs of `gpt-4o-image` by this family from now on."""
        await self.sql("SELECT id FROM darkroom_route_model('gpt-4o-image', $1, 'why')", via)

    async def money(self, name: str = "acme") -> tuple[Decimal, Decimal]:
        """Return balance and held credits."""
        account = await self.billing.account(name)
        return account.balance, account.held

    async def sql(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        """Run any statement, as an admin in psql."""
        with translated_postgres_errors():
            return await self.database.pool.fetch(statement, *args)

    async def value(self, statement: str, *args: Any) -> Any:
        """Run any statement and return its first value."""
        rows = await self.sql(statement, *args)
        return rows[0][0] if rows else None

    async def refuses(self, statement: str, *args: Any, sqlstate: str = "DR001") -> DatabaseRefused:
        """Run a statement that must be refused and change nothing. Return the error."""
        before = await self.snapshot()
        with pytest.raises(DatabaseRefused) as caught:
            await self.sql(statement, *args)
        assert caught.value.sqlstate == sqlstate, caught.value
        assert await self.snapshot() == before
        return caught.value

    async def set_price(self, credits: object, *, quantity: int = 1) -> None:
        """Do what the contract tells admins to do, confirmed."""
        await self.sql_confirmed(
            "UPDATE pricing SET credits = $1"
            " WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = $2",
            Decimal(str(credits)),
            quantity,
        )

    async def sql_confirmed(self, statement: str, *args: Any) -> None:
        """Run a statement on prices of which the admin says that it is meant."""
        with translated_postgres_errors():
            async with self.database.pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL darkroom.confirm = 'yes'")
                await connection.execute(statement, *args)

    async def snapshot(self, *but: str) -> Snapshot:
        """Return every row of every table, except those named."""
        tables = await self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            table: frozenset(tuple(row) for row in await self.sql(f"SELECT t::text FROM {table} t"))
            for (table,) in tables
            if table not in but
        }

    async def broken_invariants(self) -> dict[str, str]:
        """Return the broken invariants, by name."""
        return {
            finding.name: finding.detail
            async for finding in check_invariants(self.database)
            if not finding.ok
        }


def on_attempt(job: Job, number: int) -> Job:
    """Return the job as a worker with that attempt has it."""
    return replace(job, attempt=number)
