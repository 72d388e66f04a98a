"""Rows that another session locks: calls that need them get an error, and all others continue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from shared.adapters.postgres.database import Database, connect_database
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import RowBusy
from tests.integration.database.database_setup import DatabaseSetup, completed, submitted
from tests.integration.database.test_batched_moves import Counted, generating
from tests.support.example_jobs import polled
from worker.store.busy_rows import BusyRows, RequiredRows
from worker.store.job_store import JobStore
from worker.store.settled_job import SettledJob


@asynccontextmanager
async def held(setup: DatabaseSetup, statement: str, *args: object) -> AsyncIterator[None]:
    """Run a statement in a transaction of another session, which stays open during the block."""
    async with setup.database.pool.acquire() as admin, admin.transaction():
        await admin.execute(statement, *args)
        yield


@pytest.fixture
async def worker_database(database_url: str) -> AsyncIterator[Database]:
    """A pool like the pool of a worker."""
    async with connect_database(database_url, lock_timeout_seconds=0.3) as database:
        yield database


async def outcomes_of(moves: Sequence[Awaitable[Any]]) -> list[Any]:
    async with asyncio.timeout(10):
        return await asyncio.gather(*moves, return_exceptions=True)


LOCKS = {
    "its account": ("SELECT FROM accounts WHERE id = 'held' FOR UPDATE", 3),
    "its jobs": ("UPDATE jobs SET message = 'x' WHERE account_id = 'held'", 3),
    "one of its jobs": (
        (
            "UPDATE jobs SET message = 'x' WHERE id ="
            " (SELECT id FROM jobs WHERE account_id = 'held' ORDER BY id LIMIT 1)"
        ),
        1,
    ),
    "its webhook endpoint": ("SELECT FROM webhook_endpoints FOR UPDATE", 3),
}


@pytest.mark.parametrize(("statement", "busy"), LOCKS.values(), ids=LOCKS.keys())
async def test_what_is_held_is_busy_and_what_is_settled_with_it_is_settled(
    setup: DatabaseSetup, statement: str, busy: int
) -> None:
    await setup.open_account("held")
    await setup.open_account("third")
    needing = [
        await setup.job_in(
            JobState.GENERATING, account_id="held", webhook_url="https://hooks.example/"
        )
        for _ in range(3)
    ]
    others = [*await generating(setup, 3), *await generating(setup, 3, account_id="third")]
    async with held(setup, statement):
        outcomes = await outcomes_of([setup.settle(job) for job in [*needing, *others]])
        assert [type(one) for one in outcomes[:3]].count(RowBusy) == busy
        assert [type(one) for one in outcomes[3:]] == [Job] * 6
    for job in needing:
        if (await setup.store.load(job.id)).state is JobState.GENERATING:
            await settled_in_the_end(setup.store, job)
    assert await setup.broken_invariants() == {}
    assert setup.store.busy.count("account") == setup.store.busy.count("job") == 0


async def settled_in_the_end(store: JobStore, job: Job) -> None:
    """Settle as a delivery does: repeat after the delay of the error."""
    async with asyncio.timeout(30):
        while True:
            try:
                await store.settle(polled(job), completed(), "current")
            except RowBusy as busy:
                await asyncio.sleep(busy.wait_seconds)
            else:
                return


async def test_a_held_attempt_keeps_one_task_id_waiting_and_no_other(setup: DatabaseSetup) -> None:
    jobs = [await setup.job_in(JobState.SUBMITTING) for _ in range(6)]
    async with held(setup, "SELECT FROM job_attempts WHERE job_id = $1 FOR UPDATE", jobs[2].id):
        outcomes = await outcomes_of(
            [setup.store.record_submitted(job, submitted()) for job in jobs]
        )
        assert [type(one) for one in outcomes] == [Job, Job, RowBusy, Job, Job, Job]
    assert (await setup.store.load(jobs[2].id)).state is JobState.SUBMITTING


async def test_what_is_known_to_be_held_is_asked_for_by_one_statement_at_a_time(
    setup: DatabaseSetup,
) -> None:
    queries, now = Counted(setup.database), [1_000.0]
    store = JobStore(queries, BusyRows(monotonic=lambda: now[0]))
    await setup.open_account("held")
    jobs = await generating(setup, 40, account_id="held")
    async with held(setup, "SELECT FROM accounts WHERE id = 'held' FOR UPDATE"):
        await outcomes_of([store.settle(polled(job), completed(), "current") for job in jobs])
        queries.calls.clear()
        outcomes = await outcomes_of(
            [store.settle(polled(job), completed(), "current") for job in jobs]
        )
        assert queries.calls == {}, "no connection is asked for"
        assert {type(one) for one in outcomes} == {RowBusy}
        waits = sorted(one.wait_seconds for one in outcomes)
        assert waits[-1] > waits[0], "they do not come back in one moment"
        now[0] += waits[-1]
        await outcomes_of([store.settle(polled(job), completed(), "current") for job in jobs])
        assert queries.calls["settle_jobs"] == 1
    now[0] += 10
    # The first try finds the row free. From then on all are one statement again.
    await store.settle(polled(jobs[0]), completed(), "current")
    queries.calls.clear()
    outcomes = await outcomes_of(
        [store.settle(polled(job), completed(), "current") for job in jobs[1:]]
    )
    assert {type(one) for one in outcomes} == {SettledJob}
    assert queries.calls["settle_jobs"] == 1
    assert await setup.broken_invariants() == {}


async def test_rare_moves_of_a_held_account_take_three_connections_at_most(
    setup: DatabaseSetup, worker_database: Database
) -> None:
    store = JobStore(worker_database)
    await setup.open_account("held")
    needing = await generating(setup, 40, account_id="held")
    other = (await generating(setup, 1))[0]
    failed = job_events.ProviderFailed("provider_failed", "no images")
    async with held(setup, "SELECT FROM accounts WHERE id = 'held' FOR UPDATE"):
        moves = [asyncio.ensure_future(store.fail(polled(job), failed)) for job in needing]
        await asyncio.sleep(0)
        # Seven of ten connections are free, so no call waits for one.
        async with asyncio.timeout(5):
            assert (await store.fail(polled(other), failed)).state is JobState.FAILED
        assert not all(move.done() for move in moves)
        outcomes = await outcomes_of(moves)
        assert {type(one) for one in outcomes} == {RowBusy}
    assert await setup.money("held") == (1_000, sum(job.credits_quoted for job in needing))
    assert await setup.broken_invariants() == {}


async def test_a_busy_account_is_settled_as_fast_as_if_nobody_watched_its_row(
    setup: DatabaseSetup,
) -> None:
    """Its row is written all the time, by normal work. It is busy, but not locked."""
    queries = Counted(setup.database)
    store = JobStore(queries)
    await setup.billing.grant("acme", Decimal(1_000_000), "enough, however long it takes")
    jobs = await generating(setup, 90)
    is_over = asyncio.Event()

    async def enqueue() -> None:
        while not is_over.is_set():
            await setup.enqueue()

    enqueuers = [asyncio.create_task(enqueue()) for _ in range(4)]
    outcomes = await outcomes_of(
        [store.settle(polled(job), completed(), "current") for job in jobs]
    )
    is_over.set()
    await asyncio.gather(*enqueuers)
    assert {type(one) for one in outcomes} == {SettledJob}
    assert queries.calls["settle_jobs"] == 1
    assert queries.calls["held_rows"] == 0
    assert await setup.broken_invariants() == {}


def test_a_row_is_tried_at_growing_intervals_and_dropped_when_no_caller_needs_it() -> None:
    now = [0.0]
    busy = BusyRows(monotonic=lambda: now[0])
    needs = RequiredRows(uuid4(), "acme", moves_money=True)
    waits = []
    for _ in range(8):
        busy.mark_busy([needs.rows[-1]])
        waits.append(busy.error_for(needs).wait_seconds)
        with pytest.raises(RowBusy):
            busy.start_retry(needs)
        now[0] += 10
        assert busy.start_retry(needs)
        with pytest.raises(RowBusy):
            busy.start_retry(needs)
    assert waits[0] < 0.5
    assert waits[-1] > 3
    assert busy.count("account") == 1
    now[0] += 1_000
    assert busy.count("account") == 0
