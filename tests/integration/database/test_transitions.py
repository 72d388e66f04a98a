"""Every event in every state: exactly what the lifecycle table allows happens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.job_events import Event
from shared.domain.lifecycle import (
    IN_FLIGHT,
    OPEN,
    TERMINAL,
    TRANSITIONS,
    JobState,
    Transition,
    event_name,
    next_state,
)
from shared.errors import DatabaseRefused, JobNotFound, StaleJob, TooEarly, TooLateToCancel
from tests.integration.database.database_setup import (
    MOVES,
    DatabaseSetup,
    claimed,
    completed,
    deferred,
    on_attempt,
    submitted,
)
from tests.support.example_jobs import polled

REFUSED = StaleJob | TooLateToCancel
FENCED = tuple(
    transition
    for transition in TRANSITIONS
    if transition.event not in {job_events.Claimed, job_events.Cancelled}
)
# What is left of a reply to an attempt whose job has moved on: the task id, as evidence.
EVIDENCE: Mapping[type[Event], tuple[str, ...]] = {
    job_events.Submitted: ("job_attempts", "late_tasks"),
    # The route is in force only while this is recorded.
    job_events.RouteUnfit: ("model_routes", "audit_entries"),
}


def _name(transition: Transition) -> str:
    return event_name(transition.event)


def test_every_event_of_the_table_is_tried_here() -> None:
    assert set(MOVES) == {transition.event for transition in TRANSITIONS}


@pytest.mark.parametrize("transition", TRANSITIONS, ids=_name)
async def test_an_event_moves_a_job_from_exactly_the_states_of_the_table(
    setup: DatabaseSetup, transition: Transition
) -> None:
    event = transition.event
    for state in JobState:
        job = await setup.job_in(state)
        wanted = next_state(state, event)
        if event is job_events.Cancelled and state in IN_FLIGHT:
            continue  # the request is stored, and moves nothing
        if wanted is None:
            await _is_refused(setup, event, job)
            continue
        await MOVES[event](setup, job)
        moved = await setup.store.load(job.id)
        assert (moved.state, moved.is_terminal) == (wanted, wanted in TERMINAL), state
        assert await setup.value(
            "SELECT event FROM job_events WHERE job_id = $1 ORDER BY id DESC LIMIT 1", job.id
        ) == event_name(event)
    assert await setup.broken_invariants() == {}


async def _is_refused(setup: DatabaseSetup, event: type[Event], job: Job) -> None:
    before = await setup.snapshot(*EVIDENCE.get(event, ()))
    with pytest.raises((StaleJob, TooLateToCancel)) as caught:
        await MOVES[event](setup, job)
    assert isinstance(caught.value, REFUSED)
    assert str(job.id) in str(caught.value)
    assert await setup.snapshot(*EVIDENCE.get(event, ())) == before, job.state


@pytest.mark.parametrize("transition", FENCED, ids=_name)
async def test_a_worker_with_an_older_attempt_moves_nothing(
    setup: DatabaseSetup, transition: Transition
) -> None:
    for state in sorted(transition.sources):
        job = await setup.job_in(state, attempt=2)
        assert job.attempt == 2
        await _is_refused(setup, transition.event, on_attempt(job, 1))
        await _is_refused(setup, transition.event, on_attempt(job, 3))


async def test_a_task_id_for_an_older_attempt_is_kept_as_evidence_and_no_more(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.SUBMITTING, attempt=2)
    late = submitted()
    with pytest.raises(StaleJob):
        await setup.store.record_submitted(on_attempt(job, 1), late)
    rows = await setup.sql(
        "SELECT number, outcome, provider_task_id FROM job_attempts ORDER BY number"
    )
    assert [tuple(row) for row in rows] == [
        (1, "deferred", late.provider_task_id),
        (2, None, None),
    ]


async def test_a_reply_that_comes_after_the_attempt_was_declared_unknown_still_counts(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.UNKNOWN)
    moved = await setup.move(job, job_events.Submitted)
    assert (moved.state, moved.reason, moved.message) == (JobState.GENERATING, None, None)
    outcome = await setup.value("SELECT outcome FROM job_attempts WHERE job_id = $1", job.id)
    assert outcome == "accepted"


async def test_saying_the_same_claim_twice_gives_the_same_attempt(setup: DatabaseSetup) -> None:
    job, claim = await setup.enqueue(), claimed()
    first = await setup.store.claim(job, claim)
    before = await setup.snapshot()
    assert await setup.store.claim(job, claim) == first
    assert await setup.snapshot() == before
    assert first.attempt == 1


async def test_a_claim_repeated_after_the_job_moved_on_is_stale(setup: DatabaseSetup) -> None:
    job, claim = await setup.enqueue(), claimed()
    await setup.store.record_submitted(await setup.store.claim(job, claim), submitted())
    with pytest.raises(StaleJob):
        await setup.store.claim(job, claim)


async def test_of_workers_claiming_at_once_exactly_one_gets_the_job(setup: DatabaseSetup) -> None:
    job = await setup.enqueue()
    claims = [setup.store.claim(job, claimed()) for _ in range(20)]
    answers = await asyncio.gather(*claims, return_exceptions=True)
    assert len([one for one in answers if isinstance(one, Job)]) == 1
    assert len([one for one in answers if isinstance(one, StaleJob)]) == 19
    assert await setup.value("SELECT count(*) FROM job_attempts") == 1


async def test_a_job_is_not_claimed_before_it_is_due(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.SUBMITTING)
    await setup.store.record_deferred(job, deferred(delay_seconds=60))
    with pytest.raises(TooEarly) as early:
        await setup.store.claim(job, claimed())
    assert 50 < early.value.wait_seconds <= 60
    await setup.sql("UPDATE jobs SET due_at = now()")
    assert (await setup.store.claim(job, claimed())).attempt == 2


async def test_a_job_that_does_not_exist_is_not_found_and_not_moved(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.GENERATING)
    strange = await setup.value("SELECT gen_random_uuid()")
    with pytest.raises(JobNotFound, match=str(strange)):
        await setup.store.load(strange)
    with pytest.raises(StaleJob):
        await setup.store.claim(replace(job, id=strange), claimed())
    with pytest.raises(JobNotFound):
        await setup.book.cancel(strange)
    assert (await setup.store.load(job.id)) == job


async def test_the_deadline_counts_from_the_submission(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.GENERATING)
    assert job.submitted_at is not None
    assert job.deadline_at is not None
    assert (job.deadline_at - job.submitted_at).total_seconds() == 60


async def test_two_jobs_never_have_the_same_task(setup: DatabaseSetup) -> None:
    twice = submitted()
    first = await setup.job_in(JobState.SUBMITTING)
    second = await setup.job_in(JobState.SUBMITTING)
    await setup.store.record_submitted(first, twice)
    with pytest.raises(DatabaseRefused) as caught:
        await setup.store.record_submitted(second, twice)
    assert caught.value.constraint == "jobs_provider_task_id_key"
    assert (await setup.store.load(second.id)).state == JobState.SUBMITTING


async def test_a_second_attempt_cannot_be_written_while_one_may_have_a_task(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.SUBMITTING)
    # As if a bug had put the job back into the queue although its attempt has a task.
    await setup.sql("UPDATE jobs SET state = 'queued'")
    for outcome in (None, "accepted", "unknown", "lost"):
        await setup.sql("UPDATE job_attempts SET outcome = $1", outcome)
        before = await setup.snapshot()
        with pytest.raises(DatabaseRefused) as caught:
            await setup.store.claim(job, claimed())
        assert caught.value.constraint == "job_attempts_one_live_attempt_per_job"
        assert await setup.snapshot() == before


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_a_terminal_job_stays_as_it_ended_even_for_plain_sql(
    setup: DatabaseSetup, state: JobState
) -> None:
    await setup.open_account("other")
    await setup.job_in(state)
    for change in (
        *(f"state = '{other}', finished_at = NULL" for other in sorted(OPEN)),
        *(f"state = '{other}'" for other in sorted(TERMINAL - {state})),
        "credits_charged = 1",
        "credits_quoted = 1",
        "account_id = 'other'",
        "price_id = price_id + 1",
        "result_urls = '{https://images.example/other.png}'",
        "provider_task_id = 'other'",
        "attempt = attempt + 1",
        "finished_at = now() + interval '1 second'",
    ):
        refusal = await setup.refuses(f"UPDATE jobs SET {change}")
        assert f"is {state} and stays so: a terminal state never changes" in str(refusal)
        assert refusal.hint == "To run the same request again: darkroom jobs retry."


async def test_jobs_with_a_story_are_neither_deleted_nor_truncated(setup: DatabaseSetup) -> None:
    await setup.job_in(JobState.SUCCEEDED)
    await setup.refuses("DELETE FROM jobs", sqlstate="23503")
    refusal = await setup.refuses("TRUNCATE jobs CASCADE")
    assert "TRUNCATE on ledger_entries is refused" in str(refusal)


async def test_a_success_without_an_image_cannot_be_stored(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.GENERATING)
    before = await setup.snapshot()
    with pytest.raises(DatabaseRefused) as caught:
        await setup.store.settle(polled(job), completed(images=0), "current")
    assert caught.value.constraint == "success_has_images"
    assert await setup.snapshot() == before
