"""The cancel of a job at Kie is stored: nobody waits any more, and Kie's outcome ends the job."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from arq.connections import ArqRedis

from producer import Actor, Job, JobState, Producer, TooLateToCancel, WaitTimedOut
from producer.jobs.end_waiter import RECHECK_SECONDS, open_end_waiter
from producer.jobs.job_repository import JobRepository
from shared.adapters.postgres.database import Database
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.domain import job_events
from shared.domain.job_events import Event
from shared.domain.lifecycle import IN_FLIGHT, TERMINAL
from shared.errors import DatabaseRefused, StaleJob
from tests.integration.database.database_setup import MOVES, DatabaseSetup, claimed, deferred
from tests.integration.producer.client_setup import money, open_account
from tests.integration.producer.test_end_waiter import RecordingQueries, waiting
from tests.support.deployment import eventually

MARIA = Actor("maria", via="cli", is_operator=True)
STATES = sorted(IN_FLIGHT)


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits."""
    await open_account(producer)
    return DatabaseSetup(database)


@pytest.mark.parametrize("state", STATES)
async def test_the_request_is_stored_once_and_moves_neither_job_nor_money(
    producer: Producer, setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state)
    asked = await producer.cancel(job.id)
    assert (asked.state, asked.is_terminal, asked.is_cancel_requested) == (state, False, True)
    assert await money(producer) == (1_000, job.credits_quoted)
    (*_, event) = (await producer.job_details(job.id))["events"]
    assert (event["event"], event["detail"]["state"]) == ("cancel_requested", state)
    before = await setup.snapshot()
    # Again, by anybody: the first request stands.
    assert await producer.cancel(job.id) == asked
    assert await producer.cancel(job.id, actor=MARIA) == asked
    assert await setup.snapshot() == before
    assert await setup.billing.audit(act="job_cancelled") == []
    assert await setup.broken_invariants() == {}


async def test_the_request_of_an_operator_is_audited_and_the_end_that_follows_is_not(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(JobState.SUBMITTING)
    await producer.cancel(job.id, actor=MARIA)
    await setup.store.record_deferred(job, deferred())
    assert (await producer.get(job.id)).reason == "cancelled_by_operator"
    (entry,) = await setup.billing.audit(act="job_cancelled")
    assert (entry["actor"], entry["before"]["state"]) == ("maria", "submitting")
    assert entry["after"]["state"] == "submitting"
    assert entry["after"]["cancel_requested_at"] is not None


ENDS: tuple[tuple[JobState, type[Event], JobState, str | None], ...] = (
    (JobState.GENERATING, job_events.Completed, JobState.SUCCEEDED, None),
    (JobState.GENERATING, job_events.ProviderFailed, JobState.FAILED, "provider_failed"),
    (JobState.GENERATING, job_events.DeadlineExceeded, JobState.FAILED, "deadline_exceeded"),
    (JobState.SUBMITTING, job_events.Rejected, JobState.FAILED, "rejected"),
    (JobState.SUBMITTING, job_events.Deferred, JobState.CANCELLED, "cancelled_by_caller"),
    (JobState.UNKNOWN, job_events.Deferred, JobState.CANCELLED, "cancelled_by_caller"),
    (JobState.UNKNOWN, job_events.SubmissionLost, JobState.FAILED, "submission_lost"),
)


@pytest.mark.parametrize(("state", "event", "end", "reason"), ENDS)
async def test_what_kie_made_of_it_ends_the_job_and_decides_its_money(
    producer: Producer,
    setup: DatabaseSetup,
    state: JobState,
    event: type[Event],
    end: JobState,
    reason: str | None,
) -> None:
    job = await setup.job_in(state, webhook_url="https://example.com/hook")
    await producer.cancel(job.id)
    await MOVES[event](setup, await setup.store.load(job.id))
    ended = await producer.get(job.id)
    assert (ended.state, ended.reason) == (end, reason)
    assert ended.cancel_requested_at is not None
    assert bool(ended.result_urls) is (end is JobState.SUCCEEDED)
    charged = ended.credits_charged or Decimal(0)
    assert (charged > 0) is (end is JobState.SUCCEEDED)
    assert await money(producer) == (1_000 - charged, 0)
    assert await setup.value("SELECT array_agg(event) FROM webhook_messages") == [f"job.{end}"]
    with pytest.raises(TooLateToCancel):
        await producer.cancel(job.id)
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("state", [JobState.SUBMITTING, JobState.UNKNOWN])
async def test_a_job_that_is_cancelled_by_its_deferral_is_never_submitted_again(
    producer: Producer, setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state)
    await producer.cancel(job.id)
    ended = await setup.store.record_deferred(job, deferred())
    before = await setup.snapshot()
    with pytest.raises(StaleJob):
        await setup.store.claim(ended, claimed())
    with pytest.raises(StaleJob):
        await setup.store.record_deferred(job, deferred())
    assert await setup.snapshot() == before


async def test_no_statement_queues_a_job_whose_cancel_was_requested(
    producer: Producer, setup: DatabaseSetup
) -> None:
    """Not even one that a person types, or one of another version."""
    job = await setup.job_in(JobState.UNKNOWN)
    await producer.cancel(job.id)
    with pytest.raises(DatabaseRefused, match="queued_job_has_no_cancel_request"):
        await setup.sql("UPDATE jobs SET state = 'queued' WHERE id = $1", job.id)


async def test_a_cancel_and_a_deferral_at_once_end_the_job_whoever_is_first(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = [await setup.job_in(JobState.SUBMITTING) for _ in range(12)]
    both = ((producer.cancel(job.id), setup.store.record_deferred(job, deferred())) for job in jobs)
    await asyncio.gather(*(one for pair in both for one in pair))
    assert {(await producer.get(job.id)).state for job in jobs} == {JobState.CANCELLED}
    assert await money(producer) == (1_000, 0)
    assert await setup.broken_invariants() == {}


# --- waits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "lost announcement"])
async def test_waits_under_way_end_with_the_open_job(
    producer: Producer, setup: DatabaseSetup, redis: ArqRedis, is_announced: bool
) -> None:
    job, other = [await setup.job_in(JobState.GENERATING) for _ in range(2)]
    queries = RecordingQueries(setup.database)
    async with open_end_waiter(JobRepository(queries), DeliveryQueue(redis)) as watch:
        waits = [asyncio.create_task(watch.wait(one.id, 20)) for one in (job, job, other)]

        async def have_begun() -> bool:
            # Each has read the state once, and one query has read all of them again.
            return queries.asked.count("job_states") > len(waits)

        await eventually(have_begun, "the waits have begun")
        cancel = producer.cancel if is_announced else setup.book.cancel
        asked = await cancel(job.id)
        async with asyncio.timeout(2 * RECHECK_SECONDS):
            assert await waits[0] == await waits[1] == asked
        assert not waits[2].done()
        await producer.cancel(other.id)
        assert (await waits[2]).is_cancel_requested


@pytest.mark.parametrize("state", STATES)
async def test_a_wait_that_begins_later_lasts_until_the_end(
    producer: Producer, setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state)
    await producer.cancel(job.id)
    with pytest.raises(WaitTimedOut):
        await producer.wait(job.id, timeout_seconds=0.05)
    async with waiting(producer, job) as (wait,):
        await producer.cancel(job.id)
        ended = await _end(producer, setup, job)
        assert (await wait).state is ended.state
        assert ended.state in TERMINAL


async def _end(producer: Producer, setup: DatabaseSetup, job: Job) -> Job:
    """End the job as workers do."""
    await setup.move(
        job, job_events.ProviderFailed if job.state == "generating" else job_events.Rejected
    )
    await producer.enqueuer.delivery_queue.publish_changes([Change(job.id, has_ended=True)])
    return await producer.get(job.id)
