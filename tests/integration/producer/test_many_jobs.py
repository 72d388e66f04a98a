"""Many jobs are cancelled and retried in one call: each with its own outcome, and never twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from producer import Actor, InvalidRequest, Job, JobFilter, JobState, Producer, StateConflict
from producer.bulk.bulk_actions import BulkActions
from producer.bulk.bulk_result import BulkResult
from producer.bulk.job_selection import JobSelection
from shared.adapters.postgres.database import Database
from shared.domain import job_events
from shared.domain.lifecycle import IN_FLIGHT, OPEN
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import money, open_account, stored

MARIA = Actor("maria", via="cli", is_operator=True)
NOBODY = UUID("00000000-0000-7000-8000-000000000000")


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits and `other` 100."""
    await open_account(producer)
    await open_account(producer, "other", 100)
    return DatabaseSetup(database)


def where(**filters: str) -> JobSelection:
    return JobSelection(where=JobFilter.from_texts(filters))


def codes(result: BulkResult) -> dict[UUID, str]:
    return {one.id: one.error.code for one in result.refused}


async def failed_jobs(setup: DatabaseSetup, count: int, account_id: str = "acme") -> list[Job]:
    return [await setup.job_in(JobState.FAILED, account_id=account_id) for _ in range(count)]


# --- cancel -----------------------------------------------------------------------------------


async def test_every_queued_job_of_a_filter_is_cancelled_and_its_hold_released(
    producer: Producer, setup: DatabaseSetup
) -> None:
    mine = [await setup.enqueue() for _ in range(3)]
    theirs = await setup.enqueue(account_id="other")
    running = await setup.job_in(JobState.GENERATING)
    result = await producer.cancel_many(where(account_id="acme"), actor=MARIA)
    assert {one.id for one in result.done} == {job.id for job in mine}
    assert {one.job.reason for one in result.done} == {"cancelled_by_operator"}
    assert (result.matched, result.remaining, result.refused) == (3, 0, [])
    assert [(one.account_id, one.jobs, one.credits) for one in result.accounts] == [("acme", 3, 18)]
    assert await money(producer) == (1_000, running.credits_quoted)
    assert (await producer.get(theirs.id)).state is JobState.QUEUED
    assert len(await setup.billing.audit(act="job_cancelled", actor="maria")) == 3
    assert await setup.broken_invariants() == {}


async def test_of_given_jobs_each_one_that_cannot_be_cancelled_says_why(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = {state: await setup.job_in(state) for state in JobState}
    ids = [*(job.id for job in jobs.values()), NOBODY]
    result = await producer.cancel_many(JobSelection(ids=ids))
    done = {one.id: one.is_new for one in result.done}
    assert done == {
        **{jobs[state].id: True for state in OPEN},
        jobs[JobState.CANCELLED].id: False,
    }
    # What is at Kie ends by its outcome: its hold stays, and it is counted apart.
    assert result.requested == len(IN_FLIGHT)
    assert result.credits == jobs[JobState.QUEUED].credits_quoted
    states = {one.id: one.job.state for one in result.done}
    assert all(states[jobs[state].id] is state for state in IN_FLIGHT)
    again = await producer.cancel_many(JobSelection(ids=ids))
    assert (again.requested, again.credits, again.matched) == (0, 0, 0)
    assert {one.id for one in again.done} == set(done)
    expected = {job.id: "too_late_to_cancel" for job in jobs.values() if job.id not in done}
    assert codes(result) == {**expected, NOBODY: "job_not_found"}
    assert await setup.broken_invariants() == {}


async def test_the_same_cancel_again_has_the_same_answer_and_changes_nothing(
    producer: Producer, setup: DatabaseSetup, database: Database
) -> None:
    ids = [(await setup.enqueue()).id for _ in range(3)]
    first = await producer.cancel_many(JobSelection(ids=ids))
    rows = await stored(database)
    again = await producer.cancel_many(JobSelection(ids=ids))
    assert [(one.id, one.job) for one in again.done] == [(one.id, one.job) for one in first.done]
    assert not any(one.is_new for one in again.done)
    assert await stored(database) == rows


async def test_cancels_of_the_same_jobs_at_once_and_single_ones_cancel_each_job_once(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = [await setup.enqueue(account_id=("acme", "other")[n % 2]) for n in range(20)]
    ids = [job.id for job in jobs]
    results = await asyncio.gather(
        producer.cancel_many(JobSelection(ids=ids)),
        producer.cancel_many(JobSelection(ids=ids[::-1])),
        producer.cancel_many(where(state="queued")),
        *(producer.cancel(job_id) for job_id in ids[5:10]),
        return_exceptions=True,
    )
    many = [one for one in results if isinstance(one, BulkResult)]
    single = [one for one in results if isinstance(one, Job)]
    assert len(many) == 3
    new = Counter(one.id for result in many for one in result.done if one.is_new)
    new.update(job.id for job in single)
    assert new == Counter(ids)
    assert not any(result.refused for result in many)
    assert await setup.broken_invariants() == {}


# --- retry ------------------------------------------------------------------------------------


async def test_every_failed_job_of_a_filter_is_retried_and_the_next_call_finds_none(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = await failed_jobs(setup, 3)
    cancelled = await setup.job_in(JobState.CANCELLED)
    result = await producer.retry_many(where(account_id="acme"), actor=MARIA)
    assert {one.id: one.job.retry_of for one in result.done} == {job.id: job.id for job in jobs}
    assert [(one.account_id, one.jobs, one.credits) for one in result.accounts] == [("acme", 3, 18)]
    assert await money(producer) == (1_000, 18)
    assert len(await setup.billing.audit(act="job_retried", actor="maria")) == 3
    again = await producer.retry_many(where(account_id="acme"))
    assert (again.matched, again.done, again.refused) == (0, [], [])
    # A cancelled job was not wanted: it is retried only if its state is named.
    named = await producer.retry_many(where(state="cancelled,failed"))
    assert [one.id for one in named.done] == [cancelled.id]
    assert await setup.broken_invariants() == {}


async def test_of_given_jobs_each_one_that_cannot_be_retried_says_why(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = {state: await setup.job_in(state) for state in JobState}
    retried = (await failed_jobs(setup, 1))[0]
    before = await producer.retry(retried.id)
    ids = [*(job.id for job in jobs.values()), retried.id, NOBODY]
    result = await producer.retry_many(JobSelection(ids=ids))
    done = {one.id: one.is_new for one in result.done}
    new = {jobs[JobState.FAILED].id: True, jobs[JobState.CANCELLED].id: True}
    assert done == {**new, retried.id: False}
    assert next(one.job for one in result.done if one.id == retried.id) == before
    expected = {job.id: "state_conflict" for job in jobs.values() if job.id not in done}
    assert codes(result) == {**expected, NOBODY: "job_not_found"}
    success = jobs[JobState.SUCCEEDED].id
    again = await producer.retry_many(JobSelection(ids=[success]), again=True)
    assert [one.id for one in again.done] == [success]
    assert await setup.broken_invariants() == {}


async def test_the_same_retry_again_returns_the_same_jobs_and_holds_nothing(
    producer: Producer, setup: DatabaseSetup, database: Database
) -> None:
    selection = JobSelection(ids=[job.id for job in await failed_jobs(setup, 5)])
    first, second = await asyncio.gather(
        producer.retry_many(selection), producer.retry_many(selection, actor=MARIA)
    )
    rows = await stored(database)
    third = await producer.retry_many(selection)
    for result in (second, third):
        assert {one.id: one.job.id for one in result.done} == {
            one.id: one.job.id for one in first.done
        }
    assert not any(one.is_new for one in third.done)
    assert await stored(database) == rows
    assert await money(producer) == (1_000, 30)


async def test_as_many_are_retried_as_the_credits_allow_and_the_others_say_what_lacks(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.open_account("poor", 21)
    poor = await failed_jobs(setup, 5, "poor")
    rich = await failed_jobs(setup, 2)
    result = await producer.retry_many(where(state="failed"))
    assert Counter(one.job.account_id for one in result.done) == {"poor": 3, "acme": 2}
    assert Counter(codes(result).values()) == {"insufficient_credits": 2}
    assert set(codes(result)) <= {job.id for job in poor}
    assert await money(producer, "poor") == (21, 18)
    again = await producer.retry_many(JobSelection(ids=[job.id for job in poor]))
    assert {one.id for one in again.done} == {job.id for job in poor} - set(codes(result))
    assert not any(one.is_new for one in again.done)
    # The others stay for later, after a top-up.
    await setup.billing.grant("poor", Decimal(9), "a top-up")
    later = await producer.retry_many(where(state="failed"))
    assert {one.id for one in later.done} == set(codes(result))
    assert {one.id for one in result.done} >= {job.id for job in rich}
    assert await setup.broken_invariants() == {}


async def test_credits_that_others_take_meanwhile_never_overdraw_the_account(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.open_account("poor", 60)
    jobs = await failed_jobs(setup, 16, "poor")
    halves = [JobSelection(ids=[job.id for job in half]) for half in (jobs[:8], jobs[8:])]
    results = await asyncio.gather(*(producer.retry_many(half) for half in halves))
    done = sum(len(one.done) for one in results)
    assert done + sum(len(one.refused) for one in results) == 16
    assert await money(producer, "poor") == (60, 6 * done)
    assert done <= 10
    rest = await producer.retry_many(where(account_id="poor"))
    assert done + len(rest.done) == 10
    assert await setup.broken_invariants() == {}


async def test_a_request_or_webhook_that_is_refused_by_now_keeps_no_other_job_back(
    producer: Producer, setup: DatabaseSetup
) -> None:
    ok, old, inside = await failed_jobs(setup, 3)
    await setup.sql("UPDATE jobs SET request = '{\"prompt\": 7}' WHERE id = $1", old.id)
    await setup.sql("UPDATE jobs SET webhook_url = 'http://127.0.0.1/' WHERE id = $1", inside.id)
    result = await producer.retry_many(where(state="failed"))
    assert [one.id for one in result.done] == [ok.id]
    assert codes(result) == {old.id: "invalid_request", inside.id: "invalid_request"}


# --- dry run, cap, and what contradicts itself ------------------------------------------------


async def test_a_dry_run_says_what_it_would_cost_each_account_and_does_nothing(
    producer: Producer, setup: DatabaseSetup, database: Database
) -> None:
    await setup.open_account("poor", 7)
    await failed_jobs(setup, 2, "poor")
    await failed_jobs(setup, 3)
    queued = await setup.enqueue()
    await setup.set_price(9)
    rows = await stored(database)
    retry = await producer.retry_many(where(state="failed"), dry_run=True)
    assert [
        (one.account_id, one.jobs, one.credits, one.available, one.lacking)
        for one in retry.accounts
    ] == [("acme", 3, 27, 994, 0), ("poor", 2, 18, 7, 11)]
    assert (retry.matched, retry.credits, retry.done, retry.is_dry_run) == (5, 45, [], True)
    # A cancel releases what was held, by the price of then.
    cancel = await producer.cancel_many(where(account_id="acme"), dry_run=True)
    assert [(one.jobs, one.credits) for one in cancel.accounts] == [(1, 6)]
    by_ids = await producer.cancel_many(JobSelection(ids=[queued.id, NOBODY]), dry_run=True)
    assert (by_ids.matched, codes(by_ids)) == (1, {NOBODY: "job_not_found"})
    assert await stored(database) == rows


async def test_what_is_beyond_the_cap_is_counted_and_done_by_the_next_calls(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = await failed_jobs(setup, 5)
    below, seen = None, []
    filters = JobFilter(state="failed")
    for matched, remaining in ((5, 3), (3, 1), (1, 0)):
        selection = JobSelection(where=filters, limit=2, below=below)
        result = await producer.retry_many(selection)
        assert (result.matched, result.remaining) == (matched, remaining)
        seen += [one.id for one in result.done]
        below = result.next_below
    assert below is None
    assert sorted(seen) == sorted(job.id for job in jobs)


async def test_of_another_account_nothing_is_found_by_ids_nor_by_filters(
    producer: Producer, setup: DatabaseSetup
) -> None:
    mine, theirs = await setup.enqueue(), await setup.enqueue(account_id="other")
    bound = JobSelection(ids=[mine.id, theirs.id], account_id="acme")
    result = await producer.cancel_many(bound)
    assert ([one.id for one in result.done], codes(result)) == (
        [mine.id],
        {theirs.id: "job_not_found"},
    )
    every = JobSelection(where=JobFilter(state="queued"), account_id="acme")
    assert (await producer.cancel_many(every)).matched == 0
    assert (await producer.get(theirs.id)).state is JobState.QUEUED


async def test_a_selection_that_could_mean_every_job_is_refused() -> None:
    for options in ({}, {"where": JobFilter()}, {"where": JobFilter(task="x"), "limit": 0}):
        with pytest.raises(InvalidRequest):
            JobSelection(**options)
    with pytest.raises(InvalidRequest, match="at most 1,000 at once"):
        JobSelection(ids=[UUID(int=n) for n in range(1_001)])
    with pytest.raises(InvalidRequest, match="either ids or where"):
        JobSelection(ids=[NOBODY], where=JobFilter(task="x"))


@pytest.mark.parametrize(
    ("action", "filters", "again"),
    [
        ("cancel", {"state": "failed"}, False),
        ("cancel", {"state": "generating,succeeded"}, False),
        ("retry", {"state": "queued"}, False),
        ("retry", {"state": "failed,succeeded"}, False),
        ("retry", {"state": "generating"}, True),
        ("retry", {"retried": "true"}, False),
    ],
)
async def test_a_filter_that_contradicts_the_action_is_refused(
    producer: Producer, action: str, filters: dict[str, str], again: bool
) -> None:
    selection = where(**filters)
    calls = {
        "cancel": partial(producer.cancel_many, selection),
        "retry": partial(producer.retry_many, selection, again=again),
    }
    with pytest.raises(StateConflict) as caught:
        await calls[action]()
    assert caught.value.faults[0].field in {"where.state", "where.retried"}


class OvertakenDatabase(Database):
    """A pool on which something happens before the first cancel of many jobs."""

    def __init__(self, setup: DatabaseSetup, job: Job) -> None:
        super().__init__(setup.database.pool)
        self._setup, self._job = setup, job

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        if query == "cancel_jobs":
            await self._setup.move(self._job, job_events.Claimed)
        return await super().fetch(query, *args)


async def test_a_job_that_a_worker_takes_meanwhile_is_not_waited_for_any_more(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = [await setup.enqueue() for _ in range(3)]
    actions = BulkActions(OvertakenDatabase(setup, jobs[1]), producer.enqueuer)
    result = await actions.cancel(where(state="queued"), dry_run=False, actor=None)
    assert {one.id: one.is_request for one in result.done} == {
        jobs[0].id: False,
        jobs[1].id: True,
        jobs[2].id: False,
    }
    assert (result.requested, result.credits) == (1, 12)
    assert await setup.broken_invariants() == {}


async def test_a_locked_job_refuses_its_statement_and_the_same_call_again_does_the_rest(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = [await setup.enqueue() for _ in range(3)]
    selection = JobSelection(ids=[job.id for job in jobs])
    async with setup.database.transaction() as queries:
        await queries.connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", jobs[2].id)
        refused = await producer.cancel_many(selection)
    assert set(codes(refused).values()) == {"row_busy"}
    assert len((await producer.cancel_many(selection)).done) == 3
    assert await setup.broken_invariants() == {}
