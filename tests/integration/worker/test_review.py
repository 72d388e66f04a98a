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
from tests.integration.worker.worker_setup import PRICE, START, Rooms
from tests.support.deployment import text_to_image
from worker.steps.poll import LAST_POLL_LIMIT_SECONDS
from worker.steps.poll_state import PollState
from worker.steps.unreadable_success import REVIEW_POLL_SECONDS, UNREADABLE_ANSWERS_BEFORE_REVIEW
from worker.store.job_store import JobStore

URL = "https://example.com/1.png"
UNREADABLE = Unreadable("Kie reports success, but no image URL", '{"successFlag":1}')


async def generating(rooms: Rooms, task_id: str = "t1") -> Job:
    job = await rooms.enqueue(text_to_image())
    rooms.kie.submits.append(Accepted(task_id))
    await rooms.submit(job)
    return await rooms.now_is(job)


async def poll(rooms: Rooms, job: Job, *verdicts: PollOutcome) -> list[float | None]:
    """Poll once for each verdict; return when each asks to be run again."""
    rooms.kie.polls += verdicts
    delays = []
    for _ in verdicts:
        delays.append(await rooms.poll(job))
        await rooms.redis.flushall()  # the throttle is not tested here
    return delays


async def held(rooms: Rooms) -> Job:
    job = await generating(rooms)
    await poll(rooms, job, *[UNREADABLE] * UNREADABLE_ANSWERS_BEFORE_REVIEW)
    return await rooms.now_is(job)


async def test_an_unreadable_success_is_confirmed_and_then_held_with_its_credits(
    rooms: Rooms,
) -> None:
    job = await generating(rooms)
    *first, last = await poll(rooms, job, *[UNREADABLE] * UNREADABLE_ANSWERS_BEFORE_REVIEW)
    assert all(delay is not None and delay < 10 for delay in first)
    assert last == REVIEW_POLL_SECONDS
    after = await rooms.now_is(job)
    assert (after.state, after.reason) == ("generating", "result_unreadable")
    assert after.message == UNREADABLE.message
    assert await rooms.money() == (START, PRICE)
    assert (await rooms.events(job)).count("held_for_review") == 1


async def test_the_answer_is_kept_for_operators_and_not_in_the_callers_timeline(
    rooms: Rooms,
) -> None:
    job = await held(rooms)
    (attempt,) = await rooms.sql("SELECT message FROM job_attempts WHERE job_id = $1", job.id)
    assert attempt["message"] == UNREADABLE.answer
    rows = await rooms.sql("SELECT detail FROM job_events WHERE job_id = $1", job.id)
    assert all("successFlag" not in str(row["detail"]) for row in rows)


async def test_it_is_said_and_counted_once(rooms: Rooms) -> None:
    job = await generating(rooms)
    with structlog.testing.capture_logs() as logs:
        await poll(rooms, job, *[UNREADABLE] * (UNREADABLE_ANSWERS_BEFORE_REVIEW + 4))
    (said,) = [log for log in logs if log["event"] == "result_unreadable"]
    assert said["log_level"] == "error"
    assert said["answer"] == UNREADABLE.answer
    assert f"jobs resolve {job.id} --delivered" in said["meaning"]
    labels = {"reason": "result_unreadable"}
    assert rooms.registry.get_sample_value("darkroom_held_for_review_total", labels) == 1


async def test_a_record_that_was_half_written_is_read_as_soon_as_it_is_whole(
    rooms: Rooms,
) -> None:
    job = await generating(rooms)
    await poll(rooms, job, UNREADABLE, UNREADABLE, Delivered((URL,)))
    after = await rooms.now_is(job)
    assert after.state == "succeeded"
    assert "held_for_review" not in await rooms.events(job)


@pytest.mark.parametrize(
    "verdict",
    [UNREADABLE, Pending(0.9), NoVerdict("502"), NoVerdict("neither", has_record=True)],
    ids=lambda verdict: type(verdict).__name__,
)
async def test_no_deadline_ends_a_held_job(rooms: Rooms, verdict: PollOutcome) -> None:
    job = await held(rooms)
    await rooms.let_pass(1801 + LAST_POLL_LIMIT_SECONDS * 10)
    assert await poll(rooms, job, verdict, verdict) == [REVIEW_POLL_SECONDS] * 2
    after = await rooms.now_is(job)
    assert (after.state, after.reason) == ("generating", "result_unreadable")
    assert await rooms.money() == (START, PRICE)


async def test_at_the_deadline_an_unreadable_success_is_held_at_once(rooms: Rooms) -> None:
    job = await generating(rooms)
    await rooms.let_pass(1801)
    assert await poll(rooms, job, UNREADABLE) == [REVIEW_POLL_SECONDS]
    assert (await rooms.now_is(job)).reason == "result_unreadable"


@pytest.mark.parametrize(
    ("verdict", "state", "charge"),
    [
        (Delivered((URL,)), "succeeded", PRICE),
        (TaskFailed("provider_failed", "it broke"), "failed", 0),
    ],
    ids=["delivered", "failed"],
)
async def test_kie_may_yet_answer_readably(
    rooms: Rooms, verdict: PollOutcome, state: str, charge: int
) -> None:
    job = await held(rooms)
    await poll(rooms, job, verdict)
    after = await rooms.now_is(job)
    assert after.state == state
    assert after.reason in (None, "provider_failed")
    assert await rooms.money() == (START - charge, 0)


async def test_two_workers_hold_a_job_once(rooms: Rooms) -> None:
    job = await generating(rooms)
    await rooms.let_pass(1801)
    other = rooms.with_deps(store=JobStore(rooms.database), poll_state=PollState())
    for one in (rooms, other):
        # Each remembers the job as it was before either held it.
        await one.deps.store.load_for_poll(job.id)
    rooms.kie.polls += [UNREADABLE] * 2
    outcomes = await asyncio.gather(rooms.poll(job), other.poll(job), return_exceptions=True)
    assert all(one == REVIEW_POLL_SECONDS or isinstance(one, StaleJob) for one in outcomes)
    assert (await rooms.events(job)).count("held_for_review") == 1


async def test_with_postgres_away_it_is_held_at_the_next_poll(rooms: Rooms) -> None:
    job = await generating(rooms)

    class Away(JobStore):
        async def hold_for_review(self, *_: Any) -> None:
            raise PostgresDown("Postgres does not answer: a drill")

    await rooms.let_pass(1801)
    rooms.kie.polls += [UNREADABLE] * 2
    with pytest.raises(PostgresDown):
        await rooms.with_deps(store=Away(rooms.database)).poll(job)
    assert (await rooms.now_is(job)).reason is None
    assert await rooms.poll(job) == REVIEW_POLL_SECONDS
    assert (await rooms.now_is(job)).reason == "result_unreadable"
