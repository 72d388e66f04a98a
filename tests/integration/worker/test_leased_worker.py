"""The batched claim on a real Valkey: which worker runs which delivery, when and how often."""

from __future__ import annotations

import asyncio
from time import monotonic
from uuid import UUID

import pytest
from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane, local_now_ms
from tests.integration.worker.bare_lanes import (
    Runs,
    blocked_by,
    commands,
    deliver,
    due_now,
    is_gone,
    lane_over,
    owner_of,
    running,
    score_of,
    seen,
    wake_pushes,
)
from tests.support.deployment import eventually
from worker.queue.leased_worker import Snoozed
from worker.queue.wake_ups import forward_wake_ups


async def test_a_batch_is_claimed_in_one_round_trip(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    await deliver(redis, 80)
    warm = lane_over(redis, Runs())  # so that the server knows the script
    async with running(warm):
        await eventually(lambda: _is_empty(redis), "the warm-up has run")
    await deliver(redis, 80)
    before = await commands(redis)
    async with running(lane_over(redis, runs, max_jobs=100)):
        await runs.reach(80)
        used = await commands(redis) - before
        gate.set()
    # One claim with deliveries, and at most one more without.
    assert used["evalsha"] <= 2
    assert used["watch"] == used["zscore"] == 0, used


async def test_busy_deliveries_leave_the_window(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    await deliver(redis, 30)
    assert await due_now(redis) == 30
    async with running(lane_over(redis, runs, max_jobs=30)):
        await runs.reach(30)
        assert await due_now(redis) == 0
        gate.set()


async def test_a_finished_delivery_leaves_nothing_behind(redis: ArqRedis) -> None:
    runs = Runs()
    (job_id,) = await deliver(redis)
    async with running(lane_over(redis, runs)):
        await eventually(lambda: is_gone(redis, job_id), "the delivery is gone")
    assert runs.count[str(job_id)] == 1


async def test_racing_workers_never_run_one_delivery_at_once(redis: ArqRedis) -> None:
    runs: Runs

    async def snooze_twice(job_id: str) -> None:
        await asyncio.sleep(0)
        if runs.count[job_id] < 3:
            raise Snoozed(0.001)

    runs = Runs(snooze_twice)
    ids = await deliver(redis, 200)
    workers = [lane_over(redis, runs, max_jobs=25) for _ in range(4)]
    async with running(*workers):
        await runs.reach(600, 20)
        await eventually(lambda: _is_empty(redis), "all deliveries have ended")
    assert runs.most_of_one_at_once == 1
    assert {runs.count[str(job_id)] for job_id in ids} == {3}


async def test_the_work_is_shared_by_workers(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    ours, theirs = Runs(blocked_by(gate)), Runs(blocked_by(gate))
    await deliver(redis, 20)
    async with running(lane_over(redis, ours), lane_over(redis, theirs)):
        await seen(lambda: ours.count.total() + theirs.count.total() == 20, "all 20 are started")
        gate.set()
    assert (ours.count.total(), theirs.count.total()) == (10, 10)


async def test_max_jobs_is_kept_and_free_slots_are_filled_at_once(redis: ArqRedis) -> None:
    async def take_a_moment(_: str) -> None:
        await asyncio.sleep(0.02)

    runs = Runs(take_a_moment)
    await deliver(redis, 100)
    started_at = monotonic()
    async with running(lane_over(redis, runs, max_jobs=5)):
        await runs.reach(100)
    assert runs.most_at_once == 5
    # 20 rounds of 0.02 s; a slot that waited for the fallback of 0.5 s would take 10 s.
    assert monotonic() - started_at < 4


async def test_future_deliveries_wait_until_they_are_due(redis: ArqRedis) -> None:
    started_ms: list[int] = []

    async def note(_: str) -> None:
        started_ms.append(local_now_ms())

    due_ms = local_now_ms() + 400
    await deliver(redis, 3, delay_ms=400)
    async with running(lane_over(redis, Runs(note))):
        await seen(lambda: len(started_ms) == 3, "all three have run")
    assert all(-2 <= moment - due_ms < 250 for moment in started_ms), started_ms


@pytest.mark.parametrize("run_seconds", [0.0, 0.7])
async def test_a_snooze_lands_at_now_plus_delay_even_after_renewals(
    redis: ArqRedis, run_seconds: float
) -> None:
    raised_ms: list[int] = []

    async def run_and_snooze(_: str) -> None:
        await asyncio.sleep(run_seconds)  # with a lease of 0.2 s this is many renewals
        raised_ms.append(local_now_ms())
        raise Snoozed(60)

    (job_id,) = await deliver(redis)
    async with running(lane_over(redis, Runs(run_and_snooze), lease_ms=200)):
        await seen(lambda: bool(raised_ms), "the job has snoozed")

        async def has_landed() -> bool:
            return await owner_of(redis, job_id) is None

        await eventually(has_landed, "the run has ended")
        score = await score_of(redis, job_id)
    assert score is not None
    assert -2 <= score - (raised_ms[0] + 60_000) <= 200


async def test_the_lease_of_a_long_run_is_renewed(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    (job_id,) = await deliver(redis)
    first, second = (lane_over(redis, runs, lease_ms=300) for _ in range(2))
    async with running(first):
        await runs.reach(1)
        first_score = await score_of(redis, job_id)
        assert first_score is not None
        async with running(second):
            renewed = await _renewed_beyond(redis, job_id, first_score + 900)
            assert await owner_of(redis, job_id) == first.owner
            gate.set()
            await eventually(lambda: is_gone(redis, job_id), "the delivery is gone")
    assert renewed
    assert runs.count.total() == 1


async def test_a_wake_up_starts_a_delivery_within_tens_of_milliseconds(redis: ArqRedis) -> None:
    started_at: list[float] = []

    async def note(_: str) -> None:
        started_at.append(monotonic())

    lane = lane_over(redis, Runs(note))
    forwarding = asyncio.create_task(forward_wake_ups(DeliveryQueue(redis), [lane], wake_pushes()))
    lags = []
    try:
        async with running(lane):
            await _subscribed(redis)
            for number in range(1, 8):
                delivered_at = monotonic()
                await deliver(redis)
                await seen(lambda number=number: len(started_at) == number, "it has run")  # type: ignore[misc]
                lags.append(started_at[-1] - delivered_at)
    finally:
        forwarding.cancel()
        await asyncio.gather(forwarding, return_exceptions=True)
    assert sorted(lags)[3] < 0.1, lags


async def test_a_busy_lane_that_is_woken_claims_before_its_next_tick(
    redis: ArqRedis,
) -> None:
    runs, rounds = Runs(), 80  # more than the burst of an interval
    lane = lane_over(redis, runs)
    async with running(lane):
        began = monotonic()
        for number in range(rounds):
            await deliver(redis)
            lane.wake()
            await runs.reach(number + 1)
        took = monotonic() - began
    # Without wake-ups it would claim twelve times a second.
    assert took < (rounds - 20) / 12.5 * 0.95, f"{took:.1f} s"


async def test_without_a_wake_up_the_fallback_finds_it_within_half_a_second(
    redis: ArqRedis,
) -> None:
    runs = Runs()
    async with running(lane_over(redis, runs)):
        await eventually(lambda: _has_claimed(redis), "the lane has looked and sleeps")
        started_at = monotonic()
        await deliver(redis)
        await runs.reach(1)
        assert monotonic() - started_at < 1.0


async def test_a_delivery_made_due_early_runs_at_once(redis: ArqRedis) -> None:
    runs = Runs()
    (job_id,) = await deliver(redis, delay_ms=60_000)
    async with running(lane_over(redis, runs)):
        await DeliveryQueue(redis).make_due_now(job_id, Lane.POLL)
        await runs.reach(1, 2)


async def test_making_a_delivery_due_early_takes_it_from_no_runner(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    (job_id,) = await deliver(redis)
    async with running(lane_over(redis, runs), lane_over(redis, runs)):
        await runs.reach(1)
        await DeliveryQueue(redis).make_due_now(job_id, Lane.POLL)
        # The claim finds it busy and pushes it out of the window again.
        await eventually(lambda: _nothing_is_due(redis), "the window is empty again")
        gate.set()
        await eventually(lambda: is_gone(redis, job_id), "the delivery is gone")
    assert runs.count.total() == 1


async def test_a_delivery_added_again_while_it_runs_runs_once_more(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    (job_id,) = await deliver(redis)
    async with running(lane_over(redis, runs)):
        await runs.reach(1)
        delivery = Delivery(job_id, Lane.POLL)
        await DeliveryQueue(redis).deliver([delivery])
        await DeliveryQueue(redis).deliver([delivery], rerun_if_running=True)
        gate.set()
        await runs.reach(1, 2)
        await eventually(lambda: is_gone(redis, job_id), "the delivery is gone")
    assert runs.count.total() == 2


async def _is_empty(redis: ArqRedis) -> bool:
    return not await redis.zcard(Lane.POLL.value)


async def _nothing_is_due(redis: ArqRedis) -> bool:
    return await due_now(redis) == 0


async def _has_claimed(redis: ArqRedis) -> bool:
    return (await commands(redis))["evalsha"] > 0


async def _subscribed(redis: ArqRedis) -> None:
    async def is_subscribed() -> bool:
        return bool(dict(await redis.pubsub_numsub("darkroom:wake"))[b"darkroom:wake"])

    await eventually(is_subscribed, "the wake-ups are listened to")


async def _renewed_beyond(redis: ArqRedis, job_id: object, moment_ms: float) -> bool:
    async def is_beyond() -> bool:
        assert isinstance(job_id, UUID)
        return (await score_of(redis, job_id) or 0) > moment_ms

    await eventually(is_beyond, "the lease has been renewed three times over", 5)
    return True
