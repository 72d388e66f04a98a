"""The rate of submits on a real Valkey: reduced by refusals, shared by workers, and it recovers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import Lane
from shared.domain.lifecycle import Reason
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.bare_lanes import Runs, blocked_by, deliver, lane_over, running
from tests.support.deployment import eventually
from worker.batching.redis_scripts import RedisScripts
from worker.kie.account_pool import KieAccount
from worker.limits.account_brake import AccountBrake, SubmitRateRules
from worker.limits.submit_gates import SubmitGates
from worker.limits.throttle import submit_limit
from worker.queue.leased_worker import LeasedWorker

LIMIT = 20
BUSY = [Reason.RATE_LIMITED, Reason.MAINTENANCE, Reason.PROVIDER_FULL, Reason.UNREACHABLE]


@pytest.fixture
def brake(redis: ArqRedis) -> AccountBrake:
    return AccountBrake(RedisScripts(redis))


async def refuse(brake: AccountBrake, *, sent_before: float = 0.0, limit: int = LIMIT) -> float:
    """Have Kie refuse a request that was sent so many seconds ago. Returns the pause."""
    return await brake.slow_down(
        limit, Reason.RATE_LIMITED, "429: too fast", under_way_seconds=sent_before
    )


async def fields(redis: ArqRedis) -> dict[str, str]:
    found = await redis.hgetall("darkroom:brake")  # type: ignore[misc]
    return {name.decode(): value.decode() for name, value in found.items()}


async def rate(redis: ArqRedis) -> float:
    return float((await fields(redis))["rate"])


async def let_time_pass(redis: ArqRedis, seconds: float) -> None:
    """Move what is stored into the past, because Redis's clock cannot be set."""
    stored = await fields(redis)
    for name in ("rate_grows_at", "reduced_at", "until"):
        if name in stored:
            earlier = float(stored[name]) - seconds * 1000
            await redis.hset("darkroom:brake", name, str(int(earlier)))  # type: ignore[misc]


def submit_lane(
    redis: ArqRedis, gate: asyncio.Event, brake: AccountBrake, limit: int = LIMIT
) -> tuple[LeasedWorker, Runs]:
    runs = Runs(blocked_by(gate))
    account = KieAccount("default", FakeKie(), brake)
    gates = SubmitGates([account.gate(submit_limit(limit, 30))], slots=100)
    return lane_over(redis, runs, lane=Lane.SUBMIT, gates=gates, max_jobs=100), runs


@pytest.fixture
async def gate() -> AsyncIterator[asyncio.Event]:
    """Opens at the end, so that no run is left."""
    event = asyncio.Event()
    yield event
    event.set()


async def test_the_refusals_of_one_moment_reduce_the_rate_once(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    pauses = [await refuse(brake, sent_before=2.0) for _ in range(10)]
    assert await rate(redis) == 14
    assert pauses == [0] * 10, "a refusal after good answers stops nothing"
    assert brake.is_unproven


@pytest.mark.parametrize("reason", BUSY)
async def test_where_kie_accepts_nothing_each_refusal_halves_down_to_one(
    brake: AccountBrake, redis: ArqRedis, reason: str
) -> None:
    rates = []
    for _ in range(7):
        await brake.slow_down(LIMIT, reason, "busy", under_way_seconds=0)
        rates.append(await rate(redis))
        await let_time_pass(redis, 1)
    assert rates == [14, 7, 3.5, 1.75, 1, 1, 1]
    assert (await fields(redis))["rate_reason"] == reason


async def test_submits_pause_only_where_kie_has_accepted_none_since_the_last_refusal(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    assert await refuse(brake) == 0
    await let_time_pass(redis, 1)
    assert await brake.record_accepted() == 0
    assert not brake.is_probing
    assert await refuse(brake) == 0
    await let_time_pass(redis, 1)
    assert await refuse(brake) == 1


async def test_what_was_accepted_before_the_refusal_proves_nothing(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    await refuse(brake)
    await let_time_pass(redis, 1)
    await brake.record_accepted(under_way_seconds=3.0)
    assert brake.is_unproven
    await brake.record_accepted(under_way_seconds=0.5)
    assert not brake.is_unproven


async def test_a_claim_takes_one_probe_and_then_no_more_than_the_rate(
    brake: AccountBrake, redis: ArqRedis, gate: asyncio.Event
) -> None:
    await refuse(AccountBrake(RedisScripts(redis)), sent_before=1.0)
    await let_time_pass(redis, 1)
    lane, runs = submit_lane(redis, gate, brake)
    await deliver(redis, 30, lane=Lane.SUBMIT)
    async with running(lane):

        async def is_read() -> bool:
            return brake.is_unproven

        await eventually(is_read, "this worker has read what the other one stored")
        await runs.reach(1)
        assert len(runs.newest) == 1
        await brake.record_accepted()
        lane.wake()
        await runs.reach(14)
        # Another claim that takes nothing.
        await asyncio.wait_for(lane._claim_due(), 5)
        assert len(runs.newest) == 14
        assert await redis.zcard("darkroom:throttle:submit:kie") == 14
        await let_time_pass(redis, 56)
        lane.wake()
        await runs.reach(20)
        await asyncio.wait_for(lane._claim_due(), 5)
        assert len(runs.newest) == 20, "never more than the limit"
        gate.set()


async def test_without_a_limit_the_measured_rate_is_reduced(
    brake: AccountBrake, redis: ArqRedis, gate: asyncio.Event
) -> None:
    lane, runs = submit_lane(redis, gate, brake, limit=0)
    async with running(lane):
        await deliver(redis, 60, lane=Lane.SUBMIT)
        await runs.reach(60)
        await refuse(brake, limit=0)
        stored = await fields(redis)
        assert 50 <= float(stored["rate_limit"]) <= 60, "what was claimed within the last window"
        assert float(stored["rate"]) == pytest.approx(float(stored["rate_limit"]) * 0.7)
        await brake.record_accepted()
        await redis.hdel("darkroom:brake", "unproven")  # type: ignore[misc]
        await deliver(redis, 10, lane=Lane.SUBMIT)
        await asyncio.wait_for(lane._claim_due(), 5)
        assert len(runs.newest) == 60, "the window has more than the rate in force"
        await let_time_pass(redis, 56)
        lane.wake()
        await runs.reach(70)
        gate.set()


async def test_a_refusal_without_a_limit_or_traffic_assumes_that_of_kie(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    await refuse(brake, limit=0)
    assert await rate(redis) == 14


async def test_the_rate_grows_to_the_limit_within_a_minute_of_the_last_refusal(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    for _ in range(5):
        await refuse(brake)
        await let_time_pass(redis, 1)
    assert await rate(redis) == 1
    await let_time_pass(redis, 1 + 53 / 2)
    await refuse(brake)  # halves what has grown: about 10.5 of 20
    assert await rate(redis) == pytest.approx(5.25, abs=0.2)
    await let_time_pass(redis, 55)
    since = (await fields(redis))["rate_since"]
    await refuse(brake)
    assert await rate(redis) == 10, "it had recovered"
    assert (await fields(redis))["rate_since"] > since


async def test_a_lower_limit_holds_at_once(redis: ArqRedis) -> None:
    brake = AccountBrake(RedisScripts(redis), rate_rules=SubmitRateRules(hold_ms=60_000))
    await refuse(brake, limit=40)
    await let_time_pass(redis, 1)
    await refuse(brake, limit=8)
    assert await rate(redis) == 4


async def test_a_pause_that_a_person_has_set_outlives_a_refusal(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    pause = {"level": 1, "until": 4_102_444_800_000, "reason": "retired", "message": "for good"}
    await redis.hset("darkroom:brake", mapping=pause)  # type: ignore[misc]
    await refuse(brake)
    assert await redis.pttl("darkroom:brake") == -1
    assert await brake.reason() == "retired"


async def test_the_end_of_a_pause_leaves_the_rate(brake: AccountBrake, redis: ArqRedis) -> None:
    for _ in range(2):
        await refuse(brake)
        await let_time_pass(redis, 1.5)
    assert await brake.record_accepted() == 0
    assert await brake.reason() is None
    assert await rate(redis) == 7
