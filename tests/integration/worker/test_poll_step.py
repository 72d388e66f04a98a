"""The poll step over a scripted Kie: only its outcome or the deadline ends a job, once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog

from producer import Job
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.domain import job_events
from shared.domain.kie_outcomes import (
    Accepted,
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
)
from shared.domain.lifecycle import Reason
from shared.errors import PostgresDown, RedisDown, StaleJob
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from tests.support.deployment import text_to_image
from tests.support.example_jobs import polled
from worker.batching.change_publisher import ChangePublisher, send_with
from worker.batching.redis_scripts import RedisScripts
from worker.limits.throttle import Throttled
from worker.poll_timing import LONGEST_GAP_SECONDS
from worker.steps.poll import LAST_POLL_LIMIT_SECONDS
from worker.store.job_store import JobStore
from worker.store.settled_job import SettledJob

URL = "https://example.com/1.png"


async def generating(setup: WorkerSetup, quantity: int = 1) -> Job:
    """Return a job with the task `t1`."""
    job = await setup.enqueue(text_to_image(quantity=quantity))
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    return await setup.now_is(job)


async def test_a_job_that_nobody_waits_for_is_polled_at_the_longest_interval(
    setup: WorkerSetup,
) -> None:
    jobs = [await generating(setup)]
    setup.kie.submits.append(Accepted("t2"))
    jobs.append(await setup.enqueue(text_to_image("another")))
    await setup.submit(jobs[1])
    setup.kie.polls += [Pending(0.5)] * 6
    assert [(await setup.poll(job) or 0) < LONGEST_GAP_SECONDS for job in jobs] == [True, True]
    # One is told to the worker, one is found in the row by a worker that starts later.
    setup.deps.poll_state.record_cancel_request(jobs[0].id)
    await setup.producer.cancel(jobs[1].id)
    assert await setup.poll(jobs[0]) == LONGEST_GAP_SECONDS
    assert (await setup.poll(jobs[1]) or 0) < LONGEST_GAP_SECONDS
    setup = setup.with_deps(store=JobStore(setup.database))
    assert await setup.poll(jobs[1]) == LONGEST_GAP_SECONDS
    # Its deadline ends it, as that of any job.
    setup.clock.advance(setup.deps.settings.job_deadline_seconds - 1)
    assert 0 < (await setup.poll(jobs[0]) or 0) <= 1


@pytest.mark.parametrize(
    ("kie_outcome", "state", "reason", "charged"),
    [
        (Delivered((URL,)), "succeeded", None, 6),
        (TaskFailed(Reason.PROVIDER_FAILED, "it broke"), "failed", "provider_failed", 0),
        (TaskFailed(Reason.CONTENT_POLICY, "not that"), "failed", "content_policy", 0),
    ],
    ids=["success", "failure", "content-policy"],
)
async def test_kies_answer_ends_the_job_and_moves_the_money_once(
    setup: WorkerSetup, kie_outcome: PollOutcome, state: str, reason: str | None, charged: int
) -> None:
    job = await generating(setup)
    setup.kie.polls.append(kie_outcome)
    assert await setup.poll(job) is None
    after = await setup.now_is(job)
    assert (after.state, after.reason) == (state, reason)
    assert after.credits_charged == (Decimal(charged) if charged else None)
    assert await setup.money() == (START - charged, 0)
    if isinstance(kie_outcome, TaskFailed):
        assert after.message == kie_outcome.message
    kinds = await setup.sql("SELECT kind FROM ledger_entries WHERE job_id = $1 ORDER BY id", job.id)
    assert [row["kind"] for row in kinds] == ["hold", "capture" if charged else "release"]


@pytest.mark.parametrize(
    "kie_outcome",
    [
        NoVerdict("500"),
        NoVerdict("422 unknown task"),
        NoVerdict("429", slow_down=True),
        NoVerdict("401", account_blocked=True),
        NoVerdict("timeout"),
    ],
    ids=lambda kie_outcome: kie_outcome.message,
)
async def test_an_answer_that_decides_nothing_is_asked_for_again_with_backoff(
    setup: WorkerSetup, kie_outcome: NoVerdict
) -> None:
    job = await generating(setup)
    setup.kie.polls += [kie_outcome] * 6
    delays = []
    for _ in range(6):
        delay_seconds = await setup.poll(job)
        assert delay_seconds is not None
        delays.append(delay_seconds)
        await setup.redis.flushall()  # the throttle is not tested here
    least = 5.0 if kie_outcome.slow_down or kie_outcome.account_blocked else 0.5
    assert delays[0] >= least
    assert 10 < delays[-1] <= 30
    assert (await setup.now_is(job)).state == "generating"
    assert await setup.money() == (START, PRICE)


async def test_a_task_that_is_still_generating_is_asked_about_later(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.clock.advance(20)
    setup.kie.polls.append(Pending(0.5))
    delay_seconds = await setup.poll(job)
    assert delay_seconds == pytest.approx(2.4, abs=0.1)
    assert (await setup.now_is(job)).progress == 0.5


async def test_progress_goes_forward_only_and_is_written_only_when_it_does(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    setup.kie.polls += [Pending(0.5), Pending(0.3), Pending(0.5)]
    for _ in range(3):
        await setup.poll(job)
    assert (await setup.now_is(job)).progress == 0.5
    assert (await setup.events(job)).count("progressed") == 1


async def test_fewer_images_than_asked_are_charged_as_delivered_and_noted(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup, quantity=4)
    setup.kie.polls.append(Delivered((URL, URL + "?2")))
    await setup.poll(job)
    after = await setup.now_is(job)
    assert (after.state, after.message) == ("succeeded", "2 of 4 images were delivered")
    assert after.credits_charged == 7
    assert await setup.money() == (START - 7, 0)


async def test_fewer_images_without_a_price_of_their_own_are_charged_as_asked(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup, quantity=4)
    setup.kie.polls.append(Delivered((URL, URL + "?2", URL + "?3")))
    await setup.poll(job)
    assert (await setup.now_is(job)).credits_charged == 8


async def test_more_images_than_asked_are_delivered_at_the_asked_price(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.kie.polls.append(Delivered((URL, URL + "?2")))
    await setup.poll(job)
    after = await setup.now_is(job)
    assert (len(after.result_urls), after.credits_charged, after.message) == (2, 6, None)


async def test_at_the_deadline_one_last_poll_decides(setup: WorkerSetup) -> None:
    late, in_time = await generating(setup), await _another(setup)
    await setup.let_pass(1801)
    setup.kie.polls += [Pending(0.9), Delivered((URL,))]
    assert await setup.poll(late) is None
    assert await setup.poll(in_time) is None
    ended = await setup.now_is(late)
    assert (ended.state, ended.reason) == ("failed", "deadline_exceeded")
    assert "last poll" in (ended.message or "")
    assert (await setup.now_is(in_time)).state == "succeeded"
    assert await setup.money() == (START - PRICE, 0)


async def test_the_poll_before_the_deadline_is_put_on_it(setup: WorkerSetup) -> None:
    job = await generating(setup)
    assert job.deadline_at is not None
    setup.clock.advance(1795)
    left_seconds = (job.deadline_at - setup.clock.now()) / timedelta(seconds=1)
    setup.kie.polls.append(Pending(0))
    delay_seconds = await setup.poll(job)
    assert delay_seconds == pytest.approx(left_seconds, abs=0.5)
    assert left_seconds < LONGEST_GAP_SECONDS


async def test_a_last_poll_that_kie_does_not_answer_is_repeated_but_not_for_ever(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    await setup.let_pass(1801)
    setup.kie.polls += [NoVerdict("502")] * 2
    assert await setup.poll(job) is not None
    assert (await setup.now_is(job)).state == "generating"
    await setup.let_pass(LAST_POLL_LIMIT_SECONDS)
    assert await setup.poll(job) is None
    ended = await setup.now_is(job)
    assert (ended.state, ended.reason) == ("failed", "deadline_exceeded")
    assert "502" in (ended.message or "")


async def test_polling_an_ended_job_sends_no_query_and_ends(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.kie.polls.append(Delivered((URL,)))
    await setup.poll(job)
    assert await setup.poll(job) is None
    assert len(setup.kie.poll_calls) == 1


async def test_polling_a_queued_job_sends_no_query_and_ends(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    assert await setup.poll(job) is None
    assert setup.kie.poll_calls == []


async def test_two_polls_that_both_find_success_charge_once(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.kie.polls += [Delivered((URL,))] * 2
    outcomes = await asyncio.gather(setup.poll(job), setup.poll(job), return_exceptions=True)
    assert sorted(type(one).__name__ for one in outcomes) in (
        ["NoneType", "StaleJob"],
        ["NoneType", "NoneType"],
    )
    assert await setup.money() == (START - PRICE, 0)


async def test_a_fourth_query_within_a_second_is_not_sent(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.kie.polls += [Pending(0)] * 4
    for _ in range(3):
        await setup.poll(job)
    with pytest.raises(Throttled):
        await setup.poll(job)
    assert len(setup.kie.poll_calls) == 3


async def test_with_postgres_down_at_settlement_nothing_is_lost(setup: WorkerSetup) -> None:
    job = await generating(setup)

    class Away(JobStore):
        async def settle(self, *_: Any) -> SettledJob:
            raise PostgresDown("Postgres does not answer: a drill")

    setup.kie.polls += [Delivered((URL,))] * 2
    with pytest.raises(PostgresDown):
        await setup.with_deps(store=Away(setup.database)).poll(job)
    assert await setup.money() == (START, PRICE)
    await setup.poll(job)
    assert await setup.money() == (START - PRICE, 0)


async def test_an_end_that_cannot_be_announced_is_stored_nevertheless(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.kie.polls.append(Delivered((URL,)))
    async with connect_redis(f"unix://{setup.deps.settings.darkroom_home}/nobody.sock") as nobody:
        with pytest.raises(RedisDown):
            await DeliveryQueue(nobody).publish_changes([Change(job.id, has_ended=True)])
        publisher = ChangePublisher(send_with(RedisScripts(nobody)), outage_seconds=0)
        assert await setup.with_deps(publish_change=publisher.publish).poll(job) is None
        await publisher.close()
    assert (await setup.now_is(job)).state == "succeeded"


async def test_a_lost_price_row_is_logged_as_an_error_and_the_hold_price_is_charged(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    await setup.sql("ALTER TABLE pricing DISABLE TRIGGER pricing_keeps_what_is_in_use")
    await setup.sql(
        "DELETE FROM pricing"
        " WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = 1"
    )
    setup.kie.polls.append(Delivered((URL,)))
    with structlog.testing.capture_logs() as logs:
        await setup.poll(job)
    assert (await setup.now_is(job)).credits_charged == PRICE
    levels = [log["log_level"] for log in logs if log["event"] == "price_row_missing"]
    assert levels == ["critical"]


async def test_progress_of_a_job_that_ended_meanwhile_is_stale(setup: WorkerSetup) -> None:
    job = await generating(setup)
    setup.kie.polls.append(Delivered((URL,)))
    await setup.poll(job)
    with pytest.raises(StaleJob):
        await setup.deps.store.record_progress(polled(job), job_events.Progressed(0.5))


async def test_ends_are_counted_with_their_times_and_credits(setup: WorkerSetup) -> None:
    job = await generating(setup)
    finished_at = setup.clock.now() - timedelta(seconds=3)
    setup.kie.polls.append(Delivered((URL,), finished_at))
    await setup.poll(job)
    value = setup.registry.get_sample_value
    labels = {"state": "succeeded", "reason": "", "model": "gpt-4o-image"}
    assert value("darkroom_jobs_total", labels) == 1
    assert value("darkroom_credits_charged_total") == 6
    assert value("darkroom_job_wait_seconds_count") == 1
    assert value("darkroom_job_run_seconds_count") == 1
    lag_seconds = value("darkroom_finish_to_settled_seconds_sum")
    assert lag_seconds == pytest.approx(3, abs=0.5)


async def _another(setup: WorkerSetup) -> Job:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t2"))
    await setup.submit(job)
    return await setup.now_is(job)
