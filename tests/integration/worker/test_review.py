"""A success that cannot be read: the job is under review, charged never by guess, logged once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from producer import Job
from shared.domain.kie_outcomes import (
    Accepted,
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
    Unreadable,
)
from shared.errors import PostgresDown, StaleJob
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from tests.support.deployment import text_to_image
from worker.steps.poll import LAST_POLL_LIMIT_SECONDS
from worker.steps.poll_state import PollState
from worker.steps.unreadable_success import REVIEW_POLL_SECONDS, UNREADABLE_ANSWERS_BEFORE_REVIEW
from worker.store.job_store import JobStore

URL = "https://example.com/1.png"
UNREADABLE = Unreadable("Kie reports success, but no image URL", '{"successFlag":1}')


async def generating(setup: WorkerSetup, task_id: str = "t1") -> Job:
    job = await setup.enqueue(text_to_image())
    setup.kie.submits.append(Accepted(task_id))
    await setup.submit(job)
    return await setup.now_is(job)


async def poll(setup: WorkerSetup, job: Job, *kie_outcomes: PollOutcome) -> list[float | None]:
    """Poll once for each outcome; return when each asks to be run again."""
    setup.kie.polls += kie_outcomes
    delays = []
    for _ in kie_outcomes:
        delays.append(await setup.poll(job))
        await setup.redis.flushall()  # the throttle is not tested here
    return delays


async def held(setup: WorkerSetup) -> Job:
    job = await generating(setup)
    await poll(setup, job, *[UNREADABLE] * UNREADABLE_ANSWERS_BEFORE_REVIEW)
    return await setup.now_is(job)


async def test_an_unreadable_success_is_confirmed_and_then_held_with_its_credits(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    *first, last = await poll(setup, job, *[UNREADABLE] * UNREADABLE_ANSWERS_BEFORE_REVIEW)
    assert all(delay is not None and delay < 10 for delay in first)
    assert last == REVIEW_POLL_SECONDS
    after = await setup.now_is(job)
    assert (after.state, after.reason) == ("generating", "result_unreadable")
    assert after.message == UNREADABLE.message
    assert await setup.money() == (START, PRICE)
    assert (await setup.events(job)).count("held_for_review") == 1


async def test_the_answer_is_kept_for_operators_and_not_in_the_callers_timeline(
    setup: WorkerSetup,
) -> None:
    job = await held(setup)
    (attempt,) = await setup.sql("SELECT message FROM job_attempts WHERE job_id = $1", job.id)
    assert attempt["message"] == UNREADABLE.answer
    rows = await setup.sql("SELECT detail FROM job_events WHERE job_id = $1", job.id)
    assert all("successFlag" not in str(row["detail"]) for row in rows)


async def test_a_held_job_is_logged_and_counted_once(setup: WorkerSetup) -> None:
    job = await generating(setup)
    with structlog.testing.capture_logs() as logs:
        await poll(setup, job, *[UNREADABLE] * (UNREADABLE_ANSWERS_BEFORE_REVIEW + 4))
    (said,) = [log for log in logs if log["event"] == "result_unreadable"]
    assert said["log_level"] == "error"
    assert said["answer"] == UNREADABLE.answer
    assert f"jobs resolve {job.id} --delivered" in said["meaning"]
    labels = {"reason": "result_unreadable"}
    assert setup.registry.get_sample_value("darkroom_held_for_review_total", labels) == 1


async def test_a_record_that_was_half_written_is_read_as_soon_as_it_is_whole(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    await poll(setup, job, UNREADABLE, UNREADABLE, Delivered((URL,)))
    after = await setup.now_is(job)
    assert after.state == "succeeded"
    assert "held_for_review" not in await setup.events(job)


@pytest.mark.parametrize(
    "kie_outcome",
    [UNREADABLE, Pending(0.9), NoVerdict("502"), NoVerdict("neither", has_record=True)],
    ids=lambda kie_outcome: type(kie_outcome).__name__,
)
async def test_no_deadline_ends_a_held_job(setup: WorkerSetup, kie_outcome: PollOutcome) -> None:
    job = await held(setup)
    await setup.let_pass(1801 + LAST_POLL_LIMIT_SECONDS * 10)
    assert await poll(setup, job, kie_outcome, kie_outcome) == [REVIEW_POLL_SECONDS] * 2
    after = await setup.now_is(job)
    assert (after.state, after.reason) == ("generating", "result_unreadable")
    assert await setup.money() == (START, PRICE)


async def test_at_the_deadline_an_unreadable_success_is_held_at_once(setup: WorkerSetup) -> None:
    job = await generating(setup)
    await setup.let_pass(1801)
    assert await poll(setup, job, UNREADABLE) == [REVIEW_POLL_SECONDS]
    assert (await setup.now_is(job)).reason == "result_unreadable"


@pytest.mark.parametrize(
    ("kie_outcome", "state", "charge"),
    [
        (Delivered((URL,)), "succeeded", PRICE),
        (TaskFailed("provider_failed", "it broke"), "failed", 0),
    ],
    ids=["delivered", "failed"],
)
async def test_kie_may_yet_answer_readably(
    setup: WorkerSetup, kie_outcome: PollOutcome, state: str, charge: int
) -> None:
    job = await held(setup)
    await poll(setup, job, kie_outcome)
    after = await setup.now_is(job)
    assert after.state == state
    assert after.reason in (None, "provider_failed")
    assert await setup.money() == (START - charge, 0)


async def test_two_workers_hold_a_job_once(setup: WorkerSetup) -> None:
    job = await generating(setup)
    await setup.let_pass(1801)
    other = setup.with_deps(store=JobStore(setup.database), poll_state=PollState())
    for one in (setup, other):
        # Each remembers the job as it was before either held it.
        await one.deps.store.load_for_poll(job.id)
    setup.kie.polls += [UNREADABLE] * 2
    outcomes = await asyncio.gather(setup.poll(job), other.poll(job), return_exceptions=True)
    assert all(one == REVIEW_POLL_SECONDS or isinstance(one, StaleJob) for one in outcomes)
    assert (await setup.events(job)).count("held_for_review") == 1


async def test_with_postgres_down_it_is_held_at_the_next_poll(setup: WorkerSetup) -> None:
    job = await generating(setup)

    class Away(JobStore):
        async def hold_for_review(self, *_: Any) -> None:
            raise PostgresDown("Postgres does not answer: a drill")

    await setup.let_pass(1801)
    setup.kie.polls += [UNREADABLE] * 2
    with pytest.raises(PostgresDown):
        await setup.with_deps(store=Away(setup.database)).poll(job)
    assert (await setup.now_is(job)).reason is None
    assert await setup.poll(job) == REVIEW_POLL_SECONDS
    assert (await setup.now_is(job)).reason == "result_unreadable"
