"""The claim through several gates: one round trip, each delivery through the roomiest of them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import Lane
from shared.catalog import list_families
from shared.domain.lifecycle import Reason
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.bare_lanes import (
    Body,
    Runs,
    blocked_by,
    commands,
    deliver,
    is_gone,
    lane_over,
    running,
)
from tests.support.deployment import eventually
from worker.batching.redis_scripts import RedisScripts
from worker.kie.account_pool import KieAccount
from worker.limits.account_brake import AccountBrake, PauseRange
from worker.limits.submit_gates import SubmitGates
from worker.limits.throttle import submit_limit
from worker.queue.leased_worker import LeasedWorker, Snoozed

NAMES = ("default", "studio", "archive")
SLOTS = 100
LONG = PauseRange(first_pause_ms=60_000, longest_pause_ms=60_000)
SHORT = PauseRange(first_pause_ms=100, longest_pause_ms=100)
REFUSED = Reason.ACCOUNT_REFUSED


class Floor:
    """A submit lane over so many accounts, which notes by which account each delivery came."""

    def __init__(
        self, redis: ArqRedis, accounts: int, *, limit: int, body: Body, steps: PauseRange = LONG
    ) -> None:
        self.redis = redis
        scripts = RedisScripts(redis)
        self.brakes = [
            AccountBrake(scripts, name, busy=steps, blocked=steps) for name in NAMES[:accounts]
        ]
        self.limit = submit_limit(limit, 30)
        gates = [
            KieAccount(name, FakeKie(), brake).gate(self.limit)
            for name, brake in zip(NAMES, self.brakes, strict=False)
        ]
        self.gates = SubmitGates(gates, slots=SLOTS)
        self.came: Counter[str] = Counter()
        self.order: list[str] = []
        self.running: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self._body = body
        self.runs = Runs(self._note)
        self.lane: LeasedWorker = lane_over(
            redis, self.runs, lane=Lane.SUBMIT, gates=self.gates, max_jobs=SLOTS
        )

    async def _note(self, job_id: str) -> None:
        gate = self.runs.newest[job_id].gate
        assert gate is not None
        name = NAMES[gate]
        self.came[name] += 1
        self.order.append(name)
        self.running[name] += 1
        self.most_at_once[name] = max(self.most_at_once[name], self.running[name])
        try:
            await self._body(job_id)
        finally:
            self.running[name] -= 1

    async def reserved(self) -> list[int]:
        """Return how many slots are reserved in each account's log."""
        return [int(await self.redis.zcard(log)) for log in self.gates.throttle_keys]


async def test_what_is_due_is_spread_evenly_and_none_is_over_its_limit(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 3, limit=20, body=blocked_by(gate))
    await deliver(redis, 90, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(60)
        assert floor.came == dict.fromkeys(NAMES, 20)
        assert await floor.reserved() == [20, 20, 20]
        gate.set()


async def test_several_gates_are_still_one_round_trip(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 3, limit=20, body=blocked_by(gate))
    warm = lane_over(redis, Runs())  # so that the server knows the script
    await deliver(redis)
    async with running(warm):
        await eventually(lambda: _is_empty(redis), "the warm-up has run")
    await deliver(redis, 60, lane=Lane.SUBMIT)
    before = await commands(redis)
    async with running(floor.lane):
        await floor.runs.reach(60)
        used = await commands(redis) - before
        gate.set()
    assert used["evalsha"] <= 2, used  # one claim with deliveries, and at most one more


async def test_the_account_with_most_room_comes_first(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 2, limit=20, body=blocked_by(gate))
    seconds, _ = await redis.time()
    taken = {f"taken {number}": seconds * 1000 + 60_000 for number in range(15)}
    await redis.zadd(floor.gates.throttle_keys[0], taken)
    await deliver(redis, 15, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(15)
        assert floor.order[:10] == ["studio"] * 10
        assert floor.came == {"studio": 15}
        await deliver(redis, 2, lane=Lane.SUBMIT)
        await floor.runs.reach(17)
        assert floor.came == {"studio": 16, "default": 1}
        gate.set()


@pytest.mark.parametrize("together", [True, False], ids=["in-one-claim", "one-by-one"])
async def test_without_limits_the_accounts_take_turns(redis: ArqRedis, together: bool) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 3, limit=0, body=blocked_by(gate))
    async with running(floor.lane):
        for number in range(1, 2 if together else 10):
            await deliver(redis, 9 if together else 1, lane=Lane.SUBMIT)
            await floor.runs.reach(9 if together else number)
        await floor.runs.reach(9)
        assert floor.order == ["default", "studio", "archive"] * 3
        assert floor.gates.throttle_keys == []
        gate.set()


async def test_a_braked_account_gets_nothing_and_the_others_continue(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 2, limit=20, body=blocked_by(gate))
    await floor.brakes[0].apply(REFUSED, "402")
    await deliver(redis, 30, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(20)
        assert floor.came == {"studio": 20}
        assert await floor.reserved() == [0, 20]
        gate.set()


async def test_after_its_pause_one_job_probes_while_the_others_continue(
    redis: ArqRedis,
) -> None:
    async def come_back(_: str) -> None:
        await asyncio.sleep(0.02)
        raise Snoozed(0.001)

    floor = Floor(redis, 2, limit=0, body=come_back, steps=SHORT)
    await floor.brakes[0].apply(REFUSED, "402")
    await deliver(redis, 50, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await eventually(lambda: _has_come(floor, "default", 3), "the braked account was tried")
        assert floor.most_at_once["default"] == 1
        assert floor.most_at_once["studio"] > 1
        assert floor.brakes[0].level == 1
        assert floor.brakes[1].level == 0


async def test_a_pause_that_a_person_has_set_holds_until_it_is_deleted(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 2, limit=0, body=blocked_by(gate))
    # As docs/operations.md states.
    pause = {"level": 1, "until": 4_102_444_800_000, "reason": "retired", "message": "for good"}
    await redis.hset(floor.brakes[1].key, mapping=pause)  # type: ignore[misc]
    await floor.brakes[1].record_accepted()
    await deliver(redis, 20, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(20)
        assert floor.came == {"default": 20}
        assert await redis.pttl(floor.brakes[1].key) == -1
        await redis.delete(floor.brakes[1].key)
        await deliver(redis, 20, lane=Lane.SUBMIT)
        await floor.runs.reach(40)
        assert floor.came["studio"] > 0
        gate.set()


async def test_all_accounts_full_or_paused_means_nothing_is_claimed(redis: ArqRedis) -> None:
    gate = asyncio.Event()
    floor = Floor(redis, 2, limit=3, body=blocked_by(gate))
    await floor.brakes[1].apply(REFUSED, "401")
    await deliver(redis, 10, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(3)
        before = await commands(redis)
        await eventually(
            lambda: _claimed_again(redis, before["evalsha"] + 2), "it has looked again"
        )
        assert floor.came == {"default": 3}
        gate.set()


async def test_an_end_gives_its_slot_back_whichever_account_it_was_of(redis: ArqRedis) -> None:
    async def send_nothing(_: str) -> None:
        """End without having taken the slot that was reserved."""

    floor = Floor(redis, 3, limit=2, body=send_nothing)
    ids = await deliver(redis, 12, lane=Lane.SUBMIT)
    async with running(floor.lane):
        for job_id in ids:
            await eventually(
                lambda job_id=job_id: is_gone(redis, job_id, Lane.SUBMIT),  # type: ignore[misc]
                "the delivery is gone",
            )
    assert await floor.reserved() == [0, 0, 0]
    assert floor.gates.gate_by_delivery == {}


async def test_one_account_keeps_the_log_that_older_workers_use(redis: ArqRedis) -> None:
    floor = Floor(redis, 2, limit=20, body=blocked_by(asyncio.Event()))
    assert floor.gates.throttle_keys == [
        "darkroom:throttle:submit:kie",
        "darkroom:throttle:submit:kie:studio",
    ]
    keys_of_a_gate = 2 + len(list_families())
    assert floor.gates.keys[1::keys_of_a_gate] == ["darkroom:brake", "darkroom:brake:studio"]


async def _is_empty(redis: ArqRedis) -> bool:
    return not await redis.zcard(Lane.POLL.value)


async def _has_come(floor: Floor, name: str, times: int) -> bool:
    return floor.came[name] >= times


async def _claimed_again(redis: ArqRedis, times: int) -> bool:
    return (await commands(redis))["evalsha"] >= times
