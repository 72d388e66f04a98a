"""The reconciler adds deliveries that Redis has lost, and does not touch existing ones."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog

from producer import Job
from shared.adapters.monitoring.alert_queries import read_redis_state
from shared.adapters.redis.deliveries import Lane
from shared.adapters.redis.subscription import subscribed
from shared.domain import job_events
from shared.redis_keys import JOBS_WAIT, WAKE_UP_CHANNEL, WIPED_KEY
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from tests.support.example_jobs import polled
from worker.recovery.reconciler import EPOCH_KEY, Reconciler


async def put_into(setup: WorkerSetup, state: str) -> Job:
    """Return a job in that state that has not changed for a while."""
    job, store = await setup.enqueue(), setup.deps.store
    if state != "queued":
        job = await store.claim(job, job_events.Claimed(f"token-of-{job.id}", "dead:1", "default"))
    if state == "unknown":
        job = await store.record_unknown(job, job_events.OutcomeUnknown("reply_lost", "timeout"))
    if state in {"generating", "succeeded"}:
        job = await store.record_submitted(job, job_events.Submitted(f"t-{job.id}", 1800))
    if state == "succeeded":
        await store.settle(
            polled(job), job_events.Completed(("https://example.com/1.png",)), "current"
        )
    await age(setup, job, 300)
    return job


async def age(setup: WorkerSetup, job: Job, seconds: float) -> None:
    """Let the job's last change and attempt lie that long ago."""
    await setup.sql(
        "UPDATE jobs SET updated_at = now() - make_interval(secs => $2),"
        " attempted_at = attempted_at - make_interval(secs => $2) WHERE id = $1",
        job.id,
        seconds,
    )
    await setup.sql("UPDATE chosen_jobs SET chosen_at = now() - make_interval(secs => $1)", seconds)


async def deliveries(setup: WorkerSetup) -> dict[Lane, set[str]]:
    """Return the arq ids that wait in each lane."""
    return {
        lane: {item.decode() for item in await setup.redis.zrange(lane.value, 0, -1)}
        for lane in Lane
    }


@pytest.mark.parametrize(
    ("state", "lane"),
    [
        ("queued", Lane.SUBMIT),
        ("submitting", Lane.SUBMIT),
        ("generating", Lane.POLL),
        ("unknown", None),
        ("succeeded", None),
    ],
)
async def test_a_lost_delivery_of_each_state_is_made_again(
    setup: WorkerSetup, state: str, lane: Lane | None
) -> None:
    job = await put_into(setup, state)
    await setup.redis.delete(*(one.value for one in Lane))
    await setup.redis.set(EPOCH_KEY, "test")
    await Reconciler(setup.deps).run_once()
    found = await deliveries(setup)
    assert found == {one: ({one.arq_id(job.id)} if one is lane else set()) for one in Lane}
    redelivered = setup.registry.get_sample_value("darkroom_redelivered_total")
    assert redelivered == (1 if lane else 0)


async def test_deliveries_that_live_keep_their_due_times(setup: WorkerSetup) -> None:
    now = await put_into(setup, "queued")
    polled = await put_into(setup, "generating")
    await setup.redis.zadd(Lane.POLL.value, {Lane.POLL.arq_id(polled.id): 12345.0})
    before = await _scores(setup)
    assert len(before) == 3
    await Reconciler(setup.deps).run_once()
    await Reconciler(setup.deps).deliver_recent(0)
    assert await _scores(setup) == before
    assert now.state == "queued"


async def test_jobs_that_wait_have_no_delivery_and_workers_are_told_of_those_that_are_due(
    setup: WorkerSetup,
) -> None:
    await setup.enqueue(run_at=setup.clock.now() + timedelta(hours=1))
    await setup.sql("UPDATE jobs SET updated_at = updated_at - interval '1 minute'")
    async with subscribed(setup.redis, WAKE_UP_CHANNEL) as messages:
        await Reconciler(setup.deps).run_once()
        await setup.enqueue()
        await setup.sql("DELETE FROM chosen_jobs")
        await setup.redis.delete(Lane.SUBMIT.value)
        await setup.sql(
            "INSERT INTO account_turns VALUES ('acme', 'normal') ON CONFLICT DO NOTHING"
        )
        await Reconciler(setup.deps).run_once()
        await Reconciler(setup.deps).run_once()
        told = [JOBS_WAIT in (await anext(messages)).split() for _ in range(3)]
    assert told == [False, True, True], "first the delivery of the job, then those that wait"
    assert (await deliveries(setup))[Lane.SUBMIT] == set()


async def test_a_wiped_redis_gets_everything_again_over_many_pages(setup: WorkerSetup) -> None:
    ids = await _insert_submitting(setup, 23)
    reconciler = Reconciler(setup.deps, page_length=5)
    await setup.redis.set(EPOCH_KEY, "test")
    for _ in range(2):
        await reconciler.run_once()  # so that its cursor stands in the middle
    await setup.redis.flushall()
    with structlog.testing.capture_logs() as logs:
        await reconciler.run_once()
    told = await read_redis_state(setup.redis, ["default"])
    seconds, _ = await setup.redis.time()
    assert told.wiped_at is not None
    assert told.wiped_at.timestamp() == pytest.approx(seconds, abs=30)
    assert 0 < await setup.redis.ttl(WIPED_KEY) <= 3600
    assert (await deliveries(setup))[Lane.SUBMIT] == {Lane.SUBMIT.arq_id(one) for one in ids}
    assert "redis_is_empty" in {log["event"] for log in logs}
    assert await setup.redis.exists(EPOCH_KEY)


async def test_a_redis_that_was_never_filled_is_not_reported_as_wiped(setup: WorkerSetup) -> None:
    reconciler = Reconciler(setup.deps)
    await setup.redis.delete(EPOCH_KEY)
    await reconciler.run_once()
    await reconciler.run_once()
    assert (await read_redis_state(setup.redis, ["default"])).wiped_at is None
    await setup.redis.delete(EPOCH_KEY)
    await reconciler.run_once()
    assert (await read_redis_state(setup.redis, ["default"])).wiped_at is not None


async def test_without_a_wipe_each_check_reads_one_page_and_starts_over_after_the_last(
    setup: WorkerSetup,
) -> None:
    ids = await _insert_submitting(setup, 7)
    await setup.redis.set(EPOCH_KEY, "test")
    reconciler = Reconciler(setup.deps, page_length=3)
    counts = []
    for _ in range(3):
        await reconciler.run_once()
        counts.append(await setup.redis.zcard(Lane.SUBMIT.value))
    assert counts == [3, 6, 7]
    await setup.redis.zrem(Lane.SUBMIT.value, Lane.SUBMIT.arq_id(min(ids)))
    await reconciler.run_once()
    assert await setup.redis.zcard(Lane.SUBMIT.value) == 7


async def test_a_fresh_job_is_found_beside_the_pages_once_it_has_settled(
    setup: WorkerSetup,
) -> None:
    await setup.redis.set(EPOCH_KEY, "test")
    job = await setup.enqueue()
    await setup.redis.delete(Lane.SUBMIT.value)
    reconciler = Reconciler(setup.deps)
    await reconciler.run_once()
    assert not (await deliveries(setup))[Lane.SUBMIT], "its delivery may be under way"
    await age(setup, job, 3)
    await reconciler.run_once()
    assert len((await deliveries(setup))[Lane.SUBMIT]) == 1


async def test_unknown_past_its_limit_ends_submission_lost_with_its_hold_released(
    setup: WorkerSetup,
) -> None:
    setup = setup.with_settings(unknown_limit_seconds=200)
    overdue = await put_into(setup, "unknown")
    recent = await put_into(setup, "unknown")
    await age(setup, recent, -200)
    with structlog.testing.capture_logs() as logs:
        await Reconciler(setup.deps).run_once()
    after = await setup.now_is(overdue)
    assert (after.state, after.reason) == ("failed", "submission_lost")
    assert "200 s" in (after.message or "")
    assert await setup.attempts(overdue) == [("lost", None)]
    assert (await setup.now_is(recent)).state == "unknown"
    assert await setup.money() == (START, PRICE)
    assert [log["log_level"] for log in logs if log["event"] == "submission_lost"] == ["error"]
    labels = {"state": "failed", "reason": "submission_lost", "model": "gpt-4o-image"}
    assert setup.registry.get_sample_value("darkroom_jobs_total", labels) == 1


async def test_two_reconcilers_at_once_do_no_harm(setup: WorkerSetup) -> None:
    setup = setup.with_settings(unknown_limit_seconds=200)
    jobs = [await put_into(setup, state) for state in ("queued", "generating", "unknown")]
    await _insert_submitting(setup, 12)
    await setup.redis.flushall()
    reconcilers = [Reconciler(setup.deps, page_length=4) for _ in range(2)]
    await asyncio.gather(*(reconciler.run_once() for reconciler in reconcilers))
    found = await deliveries(setup)
    assert (len(found[Lane.SUBMIT]), len(found[Lane.POLL])) == (13, 1)
    assert (await setup.now_is(jobs[2])).reason == "submission_lost"
    assert await setup.money() == (START, 2 * PRICE)
    kinds = await setup.sql("SELECT kind FROM ledger_entries WHERE job_id = $1", jobs[2].id)
    assert sorted(row["kind"] for row in kinds) == ["hold", "release"]


async def test_a_redelivered_submitting_job_becomes_unknown_and_is_not_posted(
    setup: WorkerSetup,
) -> None:
    job = await put_into(setup, "submitting")
    await setup.redis.flushall()
    await Reconciler(setup.deps).run_once()
    await setup.submit(job)
    assert (await setup.now_is(job)).state == "unknown"
    assert setup.kie.submit_calls == []


async def _scores(setup: WorkerSetup) -> dict[Any, float]:
    return {
        item: score
        for lane in Lane
        for item, score in await setup.redis.zrange(lane.value, 0, -1, withscores=True)
    }


async def _insert_submitting(setup: WorkerSetup, count: int) -> list[UUID]:
    """Insert rows of jobs that are being submitted, without a delivery."""
    model = await setup.enqueue()
    await setup.producer.cancel(model.id)
    await setup.redis.delete(Lane.SUBMIT.value)
    rows = await setup.sql(
        "INSERT INTO jobs (id, account_id, model, task, quantity, request, credits_quoted,"
        " quoted_price_id, price_id, updated_at, state, attempt)"
        " SELECT gen_random_uuid(), account_id, model, task,"
        " quantity, request, 0, quoted_price_id, price_id, now() - interval '5 minutes',"
        " 'submitting', 1"
        " FROM jobs, generate_series(1, $2) WHERE id = $1 RETURNING id",
        model.id,
        count,
    )
    return [UUID(int=row["id"].int) for row in rows]
