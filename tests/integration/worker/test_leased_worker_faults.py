"""Leases, fences and returned deliveries when workers stall, stop or lose Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix

from shared.adapters.redis.deliveries import (
    DeliveryQueue,
    Lane,
    connect_redis,
    local_now_ms,
    serialize,
)
from shared.adapters.redis.subscription import LISTEN_SECONDS
from tests.integration.worker.bare_lanes import (
    Runs,
    blocked_by,
    deliver,
    due_now,
    is_gone,
    lane_over,
    owner_of,
    redis_behind_a_relay,
    running,
    score_of,
    seen,
    wake_pushes,
)
from tests.support.deployment import eventually
from worker.batching.redis_scripts import Argument, Key, RedisScripts
from worker.queue.leased_worker import Snoozed
from worker.queue.wake_ups import forward_wake_ups


class HeldScripts(RedisScripts):
    """Keeps the answers of claims to itself until it is let go."""

    def __init__(self, redis: ArqRedis) -> None:
        super().__init__(redis)
        self.has_claimed, self.let_go = asyncio.Event(), asyncio.Event()

    async def run(
        self,
        name: str,
        keys: Sequence[Key],
        args: Sequence[Argument],
        items: Sequence[Argument] | None = None,
        *,
        may_wait: bool = False,
    ) -> Any:
        """Send the call at once, and return its answer late."""
        answer = await super().run(name, keys, args, items, may_wait=may_wait)
        if name == "claim":
            self.has_claimed.set()
            await self.let_go.wait()
        return answer


@pytest.mark.parametrize("late_finish", ["done", "snoozed"])
async def test_a_worker_that_stops_renewing_loses_its_delivery_and_finishes_in_vain(
    redis: ArqRedis, embedded_redis_url: str, late_finish: str
) -> None:
    first_gate, second_gate = asyncio.Event(), asyncio.Event()

    async def finish_late(_: str) -> None:
        await first_gate.wait()
        if late_finish == "snoozed":
            raise Snoozed(3600)

    lost, kept = Runs(finish_late), Runs(blocked_by(second_gate))
    (job_id,) = await deliver(redis)
    async with (
        redis_behind_a_relay(embedded_redis_url) as (outage, relayed_url),
        connect_redis(relayed_url) as relayed,
    ):
        stalled = lane_over(relayed, lost, lease_ms=400)
        healthy = lane_over(redis, kept, lease_ms=400)
        async with running(stalled):
            await lost.reach(1)
            await outage.cut()
            async with running(healthy):
                await kept.reach(1)  # the lease has lapsed
                await outage.restore()
                first_gate.set()
                await seen(lambda: not lost.under_way.total(), "the stalled run has ended")
                await seen(lambda: not stalled.tasks, "the stalled worker has put it away")
                assert await owner_of(redis, job_id) == healthy.owner
                score = await score_of(redis, job_id)
                assert score is not None
                assert score <= local_now_ms() + 500, (
                    "the late snooze has moved a delivery not its own"
                )
                second_gate.set()
                await eventually(lambda: is_gone(redis, job_id), "the delivery has ended")
    assert (lost.count.total(), kept.count.total()) == (1, 1)


async def test_a_worker_that_gets_its_own_lost_delivery_back_does_not_run_it_twice_at_once(
    redis: ArqRedis, embedded_redis_url: str
) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    (job_id,) = await deliver(redis)
    async with (
        redis_behind_a_relay(embedded_redis_url) as (outage, relayed_url),
        connect_redis(relayed_url) as relayed,
    ):
        worker = lane_over(relayed, runs, lease_ms=300)
        async with running(worker):
            await runs.reach(1)
            await outage.cut()

            async def has_lapsed() -> bool:
                return await owner_of(redis, job_id) is None and await due_now(redis) == 1

            await eventually(has_lapsed, "the lease has lapsed")
            await outage.restore()

            async def is_ours_again() -> bool:
                return await owner_of(redis, job_id) == worker.owner

            await eventually(is_ours_again, "the worker holds it again")
            assert runs.most_of_one_at_once == 1
            gate.set()
            await eventually(lambda: is_gone(redis, job_id), "the delivery has ended")
            assert worker.job_counter == 0
    assert runs.count.total() == 1


async def test_a_cancelled_run_is_handed_back_due_at_once(redis: ArqRedis) -> None:
    runs = Runs(blocked_by(asyncio.Event()))
    ids = await deliver(redis, 5)
    worker = lane_over(redis, runs)
    async with running(worker):
        await runs.reach(5)
        await worker.drain(0.05)
        scores = [await score_of(redis, job_id) for job_id in ids]
        assert all(score is not None and score <= local_now_ms() for score in scores), scores
        assert [await owner_of(redis, job_id) for job_id in ids] == [None] * 5
        assert worker.job_counter == 0


async def test_draining_lets_runs_end_and_claims_nothing_more(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    (first,) = await deliver(redis)
    worker = lane_over(redis, runs)
    async with running(worker):
        await runs.reach(1)
        draining = asyncio.create_task(worker.drain(10))
        await seen(lambda: not worker.allow_pick_jobs, "the lane has stopped claiming")
        (second,) = await deliver(redis)
        worker.wake()
        gate.set()
        await draining
        assert await is_gone(redis, first)
        assert await owner_of(redis, second) is None
    assert runs.count == {str(first): 1}


async def test_a_claim_in_progress_when_the_drain_begins_leaves_nothing_claimed(
    redis: ArqRedis,
) -> None:
    held = HeldScripts(redis)
    worker = lane_over(redis, Runs(), scripts=held)
    (job_id,) = await deliver(redis)
    worker.wake([Lane.POLL.arq_id(job_id)])
    async with running(worker):
        await held.has_claimed.wait()
        draining = asyncio.create_task(worker.drain(5))
        await seen(lambda: not worker.allow_pick_jobs, "the lane has stopped claiming")
        held.let_go.set()
        await draining
    assert await owner_of(redis, job_id) is None
    assert await is_gone(redis, job_id), "it was claimed, so it should have been run"


@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"no JSON at all",
        b"[]",
        b'{"f": "poll_job"}',
        serialize({"f": "poll_job", "a": None, "k": {}, "t": None, "et": 1}),
        serialize({"f": "poll_job", "a": ["x"], "k": {"surprise": 1}, "t": None, "et": 1}),
        serialize({"f": "no_such_function", "a": ["x"], "k": {}, "t": None, "et": 1}),
    ],
    ids=["expired", "not-json", "a-list", "half", "no-arguments", "more-arguments", "unknown"],
)
async def test_whatever_a_payload_says_the_delivery_runs_by_its_id(
    redis: ArqRedis, payload: bytes | None
) -> None:
    runs = Runs()
    broken = UUID(int=1)
    if payload is not None:
        await redis.set(job_key_prefix + Lane.POLL.arq_id(broken), payload)
    await redis.zadd(Lane.POLL.value, {Lane.POLL.arq_id(broken): 1})
    async with running(lane_over(redis, runs)):
        await eventually(lambda: is_gone(redis, broken), "the broken delivery is gone")
    assert runs.count == {str(broken): 1}


@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"no JSON at all",
        b'{"f": "poll_job"}',
        serialize({"f": "no_such_function", "a": ["x"], "k": {}, "t": None, "et": 1}),
    ],
    ids=["expired", "not-json", "half", "unknown"],
)
async def test_a_foreign_broken_delivery_ends_and_the_lane_continues(
    redis: ArqRedis, payload: bytes | None
) -> None:
    runs = Runs()
    if payload is not None:
        await redis.set(job_key_prefix + "stranger", payload)
    await redis.zadd(Lane.POLL.value, {"stranger": 1})
    async with running(lane_over(redis, runs)):
        (sound,) = await deliver(redis)
        await eventually(lambda: is_gone(redis, sound), "the sound one has run")

        async def stranger_is_gone() -> bool:
            return await redis.zscore(Lane.POLL.value, "stranger") is None

        await eventually(stranger_is_gone, "the broken one has ended")
    assert runs.count == {str(sound): 1}


@pytest.mark.parametrize(
    "payload",
    [
        serialize({"f": ["poll_job"], "a": ["x"], "k": {}, "t": None, "et": 1}),
        serialize({"f": "poll_job", "a": ["x"], "k": {}, "t": "three", "et": 1}),
    ],
    ids=["no-name", "no-number"],
)
async def test_a_payload_that_arq_itself_trips_over_does_not_stop_the_lane(
    redis: ArqRedis, payload: bytes
) -> None:
    runs = Runs()
    broken = Lane.POLL.arq_id(UUID(int=1))
    await redis.set(job_key_prefix + broken, payload)
    await redis.zadd(Lane.POLL.value, {broken: 1})
    worker = lane_over(redis, runs, max_jobs=1)
    async with running(worker):
        (sound,) = await deliver(redis)
        await eventually(lambda: is_gone(redis, sound), "the sound one has run")
        assert worker.job_counter == 0


async def test_an_exception_in_a_function_does_not_kill_the_lane(redis: ArqRedis) -> None:
    async def fail_once(_: str) -> None:
        if runs.count.total() == 1:
            raise ValueError("a bug")

    runs = Runs(fail_once)
    (first,) = await deliver(redis)
    async with running(lane_over(redis, runs)):
        await eventually(lambda: is_gone(redis, first), "the failing one has ended")
        (second,) = await deliver(redis)
        await eventually(lambda: is_gone(redis, second), "the next one has run")


async def test_the_loop_survives_its_connections_being_killed(
    redis: ArqRedis, embedded_redis_url: str
) -> None:
    runs = Runs()
    async with connect_redis(embedded_redis_url) as client:
        lane = lane_over(client, runs)
        forwarding = asyncio.create_task(
            forward_wake_ups(DeliveryQueue(client), [lane], wake_pushes())
        )
        async with running(lane):
            for number in range(1, 3):
                await deliver(redis)
                await runs.reach(number)
                await redis.client_kill_filter(_type="normal", skipme=True)
                await redis.client_kill_filter(_type="pubsub", skipme=True)
            assert not forwarding.done()
            await deliver(redis)
            await runs.reach(3)
        forwarding.cancel()
        await asyncio.gather(forwarding, return_exceptions=True)


async def test_the_loop_waits_for_a_server_that_comes_later(
    redis: ArqRedis, embedded_redis_url: str, tmp_path: Path
) -> None:
    runs = Runs()
    await deliver(redis)
    later = tmp_path / "later.sock"
    async with connect_redis(f"unix://{later}") as client:
        worker = lane_over(client, runs)
        async with running(worker):
            forwarding = asyncio.create_task(
                forward_wake_ups(DeliveryQueue(client), [worker], wake_pushes())
            )
            await asyncio.sleep(0)
            assert runs.count.total() == 0
            later.symlink_to(urlsplit(embedded_redis_url).path)
            await runs.reach(1)
            forwarding.cancel()
            await asyncio.gather(forwarding, return_exceptions=True)


async def test_a_wiped_redis_in_mid_run_does_not_stop_the_lane(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    runs = Runs(blocked_by(gate))
    await deliver(redis, 3)
    async with running(lane_over(redis, runs, lease_ms=200)):
        await runs.reach(3)
        await redis.flushall()
        gate.set()
        await seen(lambda: not runs.under_way.total(), "the runs have ended")
        assert not await redis.exists(Lane.POLL.value), "a lost delivery has been brought back"
        (job_id,) = await deliver(redis)
        await eventually(lambda: is_gone(redis, job_id), "the next one has run")


async def test_a_lane_can_be_cancelled_at_any_time(redis: ArqRedis) -> None:
    """Sending a command ends in a call that may swallow a cancellation; the lane must not."""
    for turns in range(60):
        worker = lane_over(redis, Runs())
        task = asyncio.create_task(worker.run_until_cancelled())
        for _ in range(turns % 30):
            await asyncio.sleep(0)  # one turn of the event loop further into the first claim
        task.cancel()
        _, running_on = await asyncio.wait([task], timeout=5)
        assert not running_on, f"cancelled after {turns % 30} turns, it runs on"


async def test_forwarding_wake_ups_can_be_cancelled_at_any_time(redis: ArqRedis) -> None:
    for turns in range(60):
        task = asyncio.create_task(forward_wake_ups(DeliveryQueue(redis), [], wake_pushes()))
        for _ in range(turns % 30):
            await asyncio.sleep(0)
        task.cancel()
        _, running_on = await asyncio.wait([task], timeout=LISTEN_SECONDS - 1)
        assert not running_on, f"cancelled after {turns % 30} turns, it runs on"
