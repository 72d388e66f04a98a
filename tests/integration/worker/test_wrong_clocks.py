"""A worker with a wrong clock: Postgres's clock decides."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.domain import job_events
from shared.domain.kie_outcomes import Accepted, Delivered, NoVerdict, Pending, PollOutcome
from shared.errors import TooEarly
from tests.integration.worker.test_poll_step import URL, generating
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from worker.steps.submit import STALE_CLAIM_SECONDS

HOUR = 3600.0


@pytest.mark.parametrize("kie_outcome", [Pending(0.5), NoVerdict("502"), NoVerdict("?", True)])
@pytest.mark.parametrize("ahead_seconds", [2200.0, HOUR, 365 * 24 * HOUR])
async def test_a_worker_whose_clock_is_ahead_fails_no_task_before_its_deadline(
    setup: WorkerSetup, kie_outcome: PollOutcome, ahead_seconds: float
) -> None:
    job = await generating(setup)
    setup.clock.set_wrong(ahead_seconds)
    setup.kie.polls += [kie_outcome, Delivered((URL,))]
    with pytest.raises(TooEarly) as early:
        await setup.poll(job)
    assert early.value.wait_seconds == pytest.approx(1800, abs=30)
    assert (await setup.now_is(job)).state == "generating"
    assert await setup.money() == (START, PRICE)
    await setup.poll(job)
    assert (await setup.now_is(job)).state == "succeeded"


async def test_a_worker_whose_clock_is_behind_fails_no_task_and_another_ends_it(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    await setup.let_pass(1801)
    setup.kie.polls += [Pending(0.5), Pending(0.5)]
    behind = setup.with_deps()
    behind.clock.set_wrong(-HOUR)
    assert await behind.poll(job) is not None
    assert (await setup.now_is(job)).state == "generating"
    setup.clock.set_wrong(HOUR)
    assert await setup.poll(job) is None
    assert (await setup.now_is(job)).reason == "deadline_exceeded"


async def test_a_worker_whose_clock_is_ahead_submits_nothing_early(setup: WorkerSetup) -> None:
    run_at = setup.clock.now() + timedelta(seconds=60)
    job = await setup.enqueue(run_at=run_at)
    setup.clock.set_wrong(HOUR)
    setup.kie.submits.append(Accepted("t1"))
    with pytest.raises(TooEarly) as early:
        await setup.submit(job)
    assert early.value.wait_seconds == pytest.approx(60, abs=2)
    assert setup.kie.submit_calls == []
    assert await setup.attempts(job) == []
    await setup.make_due(job)
    await setup.submit(job)
    assert (await setup.now_is(job)).state == "generating"


async def test_a_delivery_due_within_the_same_tick_is_not_postponed(setup: WorkerSetup) -> None:
    """The estimate of Postgres's clock may be some milliseconds behind."""
    job = await setup.enqueue()
    setup.clock.set_wrong(-0.1)
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    assert (await setup.now_is(job)).state == "generating"


async def test_a_worker_whose_clock_is_ahead_declares_no_worker_lost(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await setup.deps.store.claim(job, job_events.Claimed("t" * 24, "alive:1", "default"))
    setup.clock.set_wrong(HOUR)
    with pytest.raises(TooEarly) as early:
        await setup.submit(job)
    assert 5 < early.value.wait_seconds <= setup.deps.lease_seconds
    assert (await setup.now_is(job)).state == "submitting"


@pytest.mark.parametrize("jump_seconds", [HOUR, -HOUR, STALE_CLAIM_SECONDS + 1])
async def test_a_clock_that_is_set_during_a_claim_makes_no_claim_stale(
    setup: WorkerSetup, jump_seconds: float
) -> None:
    job = await setup.enqueue()

    def reach(place: str) -> None:
        if place == "after_claim":
            setup.clock.set_wrong(jump_seconds)

    setup.kie.submits.append(Accepted("t1"))
    await setup.with_deps(check_crash_point=reach).submit(job)
    assert (await setup.now_is(job)).state == "generating"
    assert len(setup.kie.submit_calls) == 1
