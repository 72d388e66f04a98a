"""Lanes with empty queues: they ask Redis for nothing, and start what comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from arq.connections import ArqRedis

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.redis.deliveries import DeliveryQueue, Lane
from tests.integration.worker.bare_lanes import (
    Runs,
    deliver,
    lane_over,
    running,
    seen,
    wake_pushes,
)
from tests.support.redis_commands import counted_redis_commands
from worker.queue.leased_worker import LeasedWorker
from worker.queue.wake_ups import forward_wake_ups, wake_lanes_with_deliveries

_AT_ONCE_SECONDS = 0.1
"""The time in which a job starts after idleness. Lanes that ask at intervals do so after 0.48 s."""


async def test_idle_lanes_ask_redis_for_nothing(redis: ArqRedis) -> None:
    async with _idle_lanes(redis, Runs()), counted_redis_commands(redis) as commands:
        await asyncio.sleep(1.5)
    assert not commands.sent, commands.sent


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_delivery_after_idleness_runs_at_once(redis: ArqRedis, lane: Lane) -> None:
    runs, waits = Runs(), []
    async with _idle_lanes(redis, runs) as lanes:
        for number in range(1, 6):
            began = monotonic()
            await deliver(redis, lane=lane)
            await runs.reach(number)
            waits.append(monotonic() - began)
            await _are_idle(lanes)
    # One of them may meet a pause of this machine.
    assert sorted(waits)[3] < _AT_ONCE_SECONDS, waits


async def test_a_delivery_that_is_due_later_is_run_on_time_by_an_idle_lane(
    redis: ArqRedis,
) -> None:
    runs, waits = Runs(), []
    async with _idle_lanes(redis, runs) as lanes:
        for number in range(1, 4):
            began = monotonic()
            await deliver(redis, delay_ms=900)
            await runs.reach(number)
            waits.append(monotonic() - began)
            await _are_idle(lanes)
            if waits[-1] < 1.4:
                break
    # The machine may pause in one of them.
    assert 0.85 < min(waits) < 1.4, waits


async def test_a_delivery_whose_wake_up_is_lost_is_found(redis: ArqRedis) -> None:
    runs = Runs()
    async with _idle_lanes(redis, runs) as lanes:
        # Stock arq publishes nothing.
        await redis.enqueue_job(Lane.POLL.function, "somebody", _queue_name=Lane.POLL.value)
        await asyncio.sleep(0.7)
        assert all(lane.is_idle for lane in lanes), "no lane was told"
        finding = asyncio.create_task(wake_lanes_with_deliveries(redis, lanes, 0.05))
        await runs.reach(1)
        await stop_tasks([finding])


async def test_lanes_that_are_told_nothing_claim_by_themselves(redis: ArqRedis) -> None:
    runs, pushes = Runs(), wake_pushes()
    lane = lane_over(redis, runs, wake_pushes=pushes)
    pushes.record_closed("the connection is cut")
    async with running(lane):
        await asyncio.sleep(0.6)
        await redis.enqueue_job(Lane.POLL.function, "somebody", _queue_name=Lane.POLL.value)
        await runs.reach(1)
    assert not lane.is_idle


@asynccontextmanager
async def _idle_lanes(redis: ArqRedis, runs: Runs) -> AsyncIterator[list[LeasedWorker]]:
    await redis.flushall()
    pushes = wake_pushes()
    lanes = [lane_over(redis, runs, lane=lane, wake_pushes=pushes) for lane in Lane]
    forwarding = asyncio.create_task(forward_wake_ups(DeliveryQueue(redis), lanes, pushes))
    try:
        async with running(*lanes):
            await _are_idle(lanes)
            yield lanes
    finally:
        await stop_tasks([forwarding])


async def _are_idle(lanes: list[LeasedWorker]) -> None:
    await seen(lambda: all(lane.is_idle for lane in lanes), "all lanes are idle")
