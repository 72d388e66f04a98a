"""A job is retried once, at the cost of its own account, however often and by whom it is asked."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from producer import (
    DatabaseRefused,
    InsufficientCredits,
    InvalidRequest,
    Job,
    JobState,
    Order,
    Producer,
)
from producer.jobs.job_repository import JobRepository
from producer.jobs.job_retries import build_retry_order
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import (
    money,
    open_account,
    producer_without_redis,
    stored,
)


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits."""
    await open_account(producer)
    return DatabaseSetup(database)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED])
async def test_a_second_retry_returns_the_job_of_the_first_and_changes_nothing(
    producer: Producer, setup: DatabaseSetup, database: Database, state: JobState
) -> None:
    first = await setup.job_in(state)
    made = await producer.retry_once(first.id, again=True, actor="maria")
    rows = await stored(database)
    for again in (True, False):
        assert await producer.retry(first.id, again=again, actor="ben") == made.job
    repeated = await producer.retry_once(first.id)
    assert (made.is_new, repeated.is_new) == (True, False)
    assert await stored(database) == rows
    assert [entry["actor"] for entry in await setup.billing.audit(act="job_retried")] == ["maria"]


async def test_a_second_retry_returns_the_first_wherever_that_is_and_costs_nothing(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.open_account("poor", 6)
    first = await setup.job_in(JobState.FAILED, account_id="poor")
    retry = await producer.retry(first.id)
    assert await money(producer, "poor") == (6, 6)
    for state in (JobState.QUEUED, JobState.CANCELLED):
        if state is JobState.CANCELLED:
            await producer.cancel(retry.id)
        assert (await producer.retry(first.id)).id == retry.id
        assert (await producer.retry(first.id)).state is state
    # What failed again is retried by its own id.
    third = await producer.retry(retry.id)
    assert (third.retry_of, third.state) == (retry.id, JobState.QUEUED)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.SUCCEEDED])
async def test_of_retries_at_the_same_time_one_makes_the_job(
    producer: Producer, setup: DatabaseSetup, servers: Servers, state: JobState
) -> None:
    first = await setup.job_in(state)
    async with Producer.connect_to(servers) as other:
        asked = [one.retry_once(first.id, again=True) for one in (producer, other) * 10]
        results = await asyncio.gather(*asked)
    assert len({one.job.id for one in results}) == 1
    assert [one.is_new for one in results].count(True) == 1
    assert (await money(producer))[1] == 6
    assert await setup.broken_invariants() == {}


async def test_batches_that_retry_the_same_jobs_in_another_order_do_not_block_each_other(
    setup: DatabaseSetup,
) -> None:
    jobs = [await setup.job_in(JobState.FAILED) for _ in range(20)]
    orders = [build_retry_order(job, again=False) for job in jobs]

    async def insert(some: list[Order]) -> list[Job]:
        async with setup.database.transaction() as queries:
            return [one.job for one in await JobRepository(queries).insert(some)]

    for _ in range(3):
        made, again = await asyncio.gather(insert(orders), insert(orders[::-1]))
        assert [job.id for job in made] == [job.id for job in again[::-1]]
    assert {job.retry_of for job in made} == {job.id for job in jobs}
    assert await setup.broken_invariants() == {}


async def test_a_success_is_retried_only_when_that_is_said(
    producer: Producer, setup: DatabaseSetup, database: Database
) -> None:
    first = await setup.job_in(JobState.SUCCEEDED)
    before = await stored(database)
    with pytest.raises(InvalidRequest) as caught:
        await producer.retry(first.id)
    (fault,) = caught.value.faults
    assert fault.field == "again"
    assert "succeeded, and 6 credits were charged: a retry is charged as well" in fault.message
    assert await stored(database) == before
    assert (await producer.retry(first.id, again=True)).credits_quoted == 6


async def test_a_retry_whose_reply_was_lost_is_found_by_the_next_one(
    servers: Servers, setup: DatabaseSetup, producer: Producer, tmp_path: Path
) -> None:
    """The process died after its commit, before Redis and its caller heard of the job."""
    first = await setup.job_in(JobState.FAILED)
    async with producer_without_redis(servers, tmp_path) as dying:
        made = await dying.retry(first.id)
    again = await producer.retry_once(first.id)
    assert (again.job, again.is_new) == (made, False)


async def test_a_refused_retry_leaves_the_next_one_its_turn(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.open_account("poor", 6)
    first = await setup.job_in(JobState.FAILED, account_id="poor")
    other = await setup.enqueue(account_id="poor")
    with pytest.raises(InsufficientCredits):
        await producer.retry(first.id)
    await setup.billing.grant("poor", Decimal(6), "a top-up")
    assert (await producer.retry_once(first.id)).is_new
    assert await money(producer, "poor") == (12, 12)
    assert other.account_id == "poor"


@pytest.mark.parametrize(
    ("state", "account"),
    [(JobState.QUEUED, "acme"), (JobState.UNKNOWN, "acme"), (JobState.FAILED, "other")],
)
async def test_the_database_refuses_the_retry_of_an_open_job_and_at_anothers_cost(
    setup: DatabaseSetup, state: JobState, account: str
) -> None:
    await setup.open_account("other", 100)
    failed, first = await setup.job_in(JobState.FAILED), await setup.job_in(state)
    request = build_retry_order(failed, again=False).request
    order = Order(request=request, account_id=account, retry_of=first.id)
    with pytest.raises(DatabaseRefused, match=f"job {first.id} cannot be retried"):
        await JobRepository(setup.database).insert([order])
    assert await setup.broken_invariants() == {}
