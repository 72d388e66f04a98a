"""Which lanes a delivery wakes, and how wake-ups affect the claims that a lane makes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from uuid import uuid4

from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from shared.redis_keys import WAKE_UP_CHANNEL
from tests.integration.worker.bare_lanes import (
    RecordingLane,
    Runs,
    deliver,
    lane_over,
    running,
    seen,
    wake_pushes,
)
from worker.queue.wake_ups import forward_wake_ups


async def test_a_delivery_wakes_the_lanes_that_it_is_for_and_no_others(redis: ArqRedis) -> None:
    async with _recording_lanes(redis) as (submit, poll, webhook):
        await deliver(redis, lane=Lane.SUBMIT)
        both = [Delivery(uuid4(), Lane.SUBMIT), Delivery(uuid4(), Lane.WEBHOOK)]
        await DeliveryQueue(redis).deliver(both)
        # Wake-ups arrive in order: when the last one has, all before it have too.
        await seen(lambda: webhook.calls == 1, "the last call was heard")
        # The claim for the first of the submits finds the second one as well.
        assert (submit.calls, poll.calls, webhook.calls) == (1, 0, 1)


async def test_a_delivery_made_due_early_wakes_only_its_own_lane(redis: ArqRedis) -> None:
    async with _recording_lanes(redis) as (submit, poll, webhook):
        (job_id,) = await deliver(redis, lane=Lane.POLL, delay_ms=60_000)
        await seen(lambda: poll.calls == 1, "the first delivery of the queue was heard of")
        await deliver(redis, lane=Lane.POLL, delay_ms=50_000)
        await DeliveryQueue(redis).make_due_now(job_id, Lane.POLL)
        await seen(lambda: poll.calls == 2, "the call was heard")
        assert (submit.calls, webhook.calls) == (0, 0)


async def test_a_call_without_a_name_which_older_versions_make_wakes_all(redis: ArqRedis) -> None:
    async with _recording_lanes(redis) as lanes:
        await redis.publish(WAKE_UP_CHANNEL, "")
        await seen(lambda: all(lane.calls == 1 for lane in lanes), "all were woken")


async def test_a_lane_with_many_wake_ups_still_claims_deliveries_that_become_due(
    redis: ArqRedis,
) -> None:
    async def ping(_: str) -> None:
        await redis.ping()

    runs = Runs(ping)
    # The end of each run wakes the lane while it waits for its interval.
    lane = lane_over(redis, runs, max_jobs=1)
    async with running(lane):
        await deliver(redis, 100)
        await runs.reach(100)
        began = monotonic()
        await deliver(redis, delay_ms=200)
        await runs.reach(101)
        took = monotonic() - began
    assert took < 1.0, f"{took:.1f} s"


@asynccontextmanager
async def _recording_lanes(
    redis: ArqRedis,
) -> AsyncIterator[tuple[RecordingLane, RecordingLane, RecordingLane]]:
    lanes = (
        RecordingLane(Lane.SUBMIT, redis),
        RecordingLane(Lane.POLL, redis),
        RecordingLane(Lane.WEBHOOK, redis),
    )
    forwarding = asyncio.create_task(
        forward_wake_ups(DeliveryQueue(redis), list(lanes), wake_pushes())
    )
    try:
        await seen(lambda: all(lane.calls == 1 for lane in lanes), "all are woken at the opening")
        for lane in lanes:
            lane.calls = 0
        yield lanes
    finally:
        forwarding.cancel()
        await asyncio.gather(forwarding, return_exceptions=True)
