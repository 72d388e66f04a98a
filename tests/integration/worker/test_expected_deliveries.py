"""A claim declares the deliveries that it expects; what it did not expect costs one claim more."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import DeliveryQueue, Lane
from tests.integration.worker.bare_lanes import (
    Runs,
    blocked_by,
    deliver,
    lane_over,
    running,
    seen,
    wake_pushes,
)
from worker.batching.redis_scripts import RedisScripts
from worker.queue.expected_deliveries import ExpectedDeliveries
from worker.queue.leased_worker import Snoozed
from worker.queue.wake_ups import forward_wake_ups


class RecordedClaims(RedisScripts):
    """Records of each claim how many it took, and how many it had to leave."""

    def __init__(self, redis: ArqRedis) -> None:
        super().__init__(redis)
        self.claims: list[tuple[int, int]] = []

    async def run(self, name: str, *args: Any, **options: Any) -> Any:
        """Run the script."""
        reply = await super().run(name, *args, **options)
        if name == "claim":
            self.claims.append((len(reply[6:]) // 4, int(reply[3])))
        return reply

    @property
    def effective(self) -> list[tuple[int, int]]:
        """The claims that took or left any."""
        return [claim for claim in self.claims if claim != (0, 0)]


async def test_deliveries_that_nobody_told_are_claimed_by_a_second_claim_at_once(
    redis: ArqRedis,
) -> None:
    end = asyncio.Event()
    runs, scripts = Runs(blocked_by(end)), RecordedClaims(redis)
    await deliver(redis, 120)
    async with running(lane_over(redis, runs, scripts=scripts, max_jobs=150)):
        await runs.reach(120)
        end.set()
    assert scripts.claims[:2] == [(0, 120), (120, 0)]


async def test_a_delivery_that_a_wake_up_tells_is_claimed_by_the_first_claim(
    redis: ArqRedis,
) -> None:
    runs, scripts = Runs(), RecordedClaims(redis)
    lane = lane_over(redis, runs, scripts=scripts, wake_pushes=(pushes := wake_pushes()))
    task = asyncio.create_task(forward_wake_ups(DeliveryQueue(redis), [lane], pushes))
    try:
        await seen(lambda: bool(pushes.is_open), "it is subscribed")
        async with running(lane):
            for number in range(1, 6):
                await deliver(redis)
                await runs.reach(number)
            (early,) = await deliver(redis, delay_ms=60_000)
            await DeliveryQueue(redis).make_due_now(early, Lane.POLL)
            await runs.reach(6)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    # A claim that the start of the lane or the end of a run causes may come before a wake-up.
    assert sum(left for _, left in scripts.effective) <= 2


async def test_what_snoozes_is_claimed_again_by_one_claim(redis: ArqRedis) -> None:
    async def snooze_four_times(job_id: str) -> None:
        if runs.count[job_id] < 5:
            raise Snoozed(0.15)

    runs, scripts = Runs(snooze_four_times), RecordedClaims(redis)
    await deliver(redis)
    async with running(lane_over(redis, runs, scripts=scripts)):
        await runs.reach(5)
    # Unknown at the start of the lane alone.
    assert [claim for claim in scripts.effective if claim[1]] == [(0, 1)]


async def test_expected_deliveries_of_which_others_took_most_do_not_keep_the_rest_waiting(
    redis: ArqRedis,
) -> None:
    runs, others = Runs(), [f"poll:{uuid4()}" for _ in range(30)]
    scripts = RecordedClaims(redis)
    lane = lane_over(redis, runs, scripts=scripts)
    lane.wake(others)
    await deliver(redis, 3)
    async with running(lane):
        await runs.reach(3)
    assert scripts.effective == [(0, 3), (3, 0)]


def test_a_wake_up_is_expected_once_within_a_limit_and_by_its_own_lane() -> None:
    expected = ExpectedDeliveries("poll:")
    expected.add_told(["darkroom:poll", "poll:1", "submit:2", "darkroom:waiting", "poll:3"])
    expected.set_next([b"poll:3", b"poll:4"])
    assert expected.take() == ["poll:1", "poll:3", "poll:4"]
    assert expected.take() == ["poll:3", "poll:4"]
    for number in range(1_000):
        expected.add_told([f"poll:{number}"])
    assert len(expected.take()) == 100
