"""The brake on a real Valkey and in the lanes: all workers slow down, no job fails, and it ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
import structlog
from arq.connections import ArqRedis

from producer import Job
from shared.catalog import ImageRequest, ModelFamily
from shared.domain.kie_outcomes import Accepted, SubmitOutcome
from shared.domain.lifecycle import Reason
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.worker_setup import WorkerSetup, running_lanes
from tests.support.deployment import Deployment, eventually
from worker.batching.redis_scripts import RedisScripts
from worker.bootstrap import open_worker
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccountPool
from worker.limits.account_brake import AccountBrake, PauseRange, SubmitRateRules

QUICK = PauseRange(first_pause_ms=60, longest_pause_ms=200)
HIGH_RATE = SubmitRateRules(assumed_limit=1_000)
"""Here the pauses are tested: the rate, reduced several times, holds nothing back."""
BUSY = [Reason.RATE_LIMITED, Reason.MAINTENANCE, Reason.PROVIDER_FULL]


@pytest.fixture
def brake(redis: ArqRedis) -> AccountBrake:
    """A brake whose pauses are over soon."""
    return AccountBrake(RedisScripts(redis), busy=QUICK, blocked=QUICK)


async def when_released(brake: AccountBrake, redis: ArqRedis) -> None:
    """Wait until the pause is over."""

    async def is_over() -> bool:
        until = await redis.hget(brake.key, "until")  # type: ignore[misc]
        seconds, microseconds = await redis.time()
        return bool(float(until or 0) <= seconds * 1000 + microseconds // 1000)

    await eventually(is_over, "the pause is over", 2)


async def test_pauses_in_a_row_double_up_to_the_longest(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    pauses = []
    for _ in range(4):
        pauses.append(await brake.apply(Reason.RATE_LIMITED, "429"))
        await when_released(brake, redis)
    assert pauses == [0.06, 0.12, 0.2, 0.2]
    assert brake.level == 4


async def test_many_refusals_at_the_same_time_are_one_step(redis: ArqRedis) -> None:
    brake = AccountBrake(RedisScripts(redis))
    pauses = [await brake.apply(Reason.RATE_LIMITED, "429") for _ in range(20)]
    assert brake.level == 1
    assert pauses[0] == 1
    assert all(0.5 < pause <= 1 for pause in pauses)


async def test_it_is_released_step_by_step(brake: AccountBrake, redis: ArqRedis) -> None:
    for _ in range(3):
        await brake.apply(Reason.MAINTENANCE, "455")
        await when_released(brake, redis)
    assert [await brake.record_accepted() for _ in range(3)] == [2, 1, 0]
    assert await brake.reason() is None
    assert await brake.record_accepted() == 0


async def test_a_success_that_was_sent_before_the_pause_does_not_end_it(redis: ArqRedis) -> None:
    brake = AccountBrake(RedisScripts(redis))
    await brake.apply(Reason.RATE_LIMITED, "429")
    assert await brake.record_accepted() == 1
    assert await brake.reason() == "rate_limited"


async def test_another_process_sees_the_same_brake(brake: AccountBrake, redis: ArqRedis) -> None:
    await brake.apply(Reason.PROVIDER_FULL, "550")
    assert await AccountBrake(RedisScripts(redis)).reason() == "provider_full"


@pytest.mark.parametrize("busy_first", [False, True], ids=["alone", "while-kie-is-busy"])
async def test_an_account_refusal_is_logged_as_an_error_once(
    brake: AccountBrake, redis: ArqRedis, busy_first: bool
) -> None:
    with structlog.testing.capture_logs() as logs:
        if busy_first:
            await brake.apply(Reason.RATE_LIMITED, "429")
            await when_released(brake, redis)
        for _ in range(5):
            await brake.apply(Reason.ACCOUNT_REFUSED, "402 credits")
            await brake.apply(Reason.ACCOUNT_REFUSED, "402 credits")
            await when_released(brake, redis)
    assert Counter(log["log_level"] for log in logs)["critical"] == 1


async def test_an_account_refusal_after_a_recovery_is_logged_again(
    brake: AccountBrake, redis: ArqRedis
) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await brake.apply(Reason.ACCOUNT_REFUSED, "401 key")
            await when_released(brake, redis)
            await brake.record_accepted()
    assert Counter(log["log_level"] for log in logs)["critical"] == 2


class OneAtATime(FakeKie):
    """Accepts everything, and records at each POST how many were in progress."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way: list[int] = []
        self._now = 0

    async def submit(
        self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
    ) -> SubmitOutcome:
        """Wait a short time, then return the next task id."""
        self._now += 1
        self.under_way.append(self._now)
        await asyncio.sleep(0.02)
        self._now -= 1
        self.submits.append(Accepted(f"t{len(self.submit_calls)}"))
        return await super().submit(family, request, callback_url=callback_url)


async def test_a_lane_claims_nothing_during_the_pause_and_then_probes(
    setup: WorkerSetup,
) -> None:
    kie = OneAtATime()
    brake = _quick_brake(setup.deps)
    setup = setup.with_kie(kie, brake)
    for _ in range(2):
        await brake.apply(Reason.RATE_LIMITED, "429")
        await when_released(brake, setup.redis)
    await brake.apply(Reason.RATE_LIMITED, "429")
    jobs = [await setup.enqueue() for _ in range(6)]
    async with running_lanes(setup.deps):
        await eventually(lambda: _are(setup, "generating", len(jobs)), "all are generating")
    assert kie.under_way[:3] == [1, 1, 1], "while the brake is on, one at a time feels the way"
    assert brake.level == 0


@pytest.mark.parametrize("code", [429, 455, 550])
async def test_kie_busy_slows_both_workers_down_and_they_recover(
    deployment: Deployment, code: int
) -> None:
    deployment.simulator.set_faults(submit_code=code, submit_code_times=1, duration=60.0)
    async with _two_workers(deployment):
        await _all_are_paid_once(deployment, [await deployment.enqueue() for _ in range(6)])
    refused = deployment.simulator.record.creates_refused[f"fault_{code}"]
    assert refused == 6


@pytest.mark.parametrize("code", [401, 402, 403, 433])
async def test_a_refused_account_pauses_everybody_and_nothing_fails(
    deployment: Deployment, redis: ArqRedis, code: int
) -> None:
    deployment.simulator.set_faults(submit_code=code, duration=60.0)
    with structlog.testing.capture_logs() as logs:
        async with _two_workers(deployment):
            jobs = [await deployment.enqueue() for _ in range(6)]

            async def is_tried_again() -> bool:
                return int(await redis.hget("darkroom:brake", "level") or 0) >= 3  # type: ignore[misc]

            await eventually(is_tried_again, "the account has been tried three times over")
            states = {(await deployment.producer.get(job.id)).state for job in jobs}
            assert states <= {"queued", "submitting"}, "nothing has failed"
            deployment.simulator.set_faults(submit_code=0)
            await _all_are_paid_once(deployment, jobs)
    paused = [log for log in logs if log["event"] == "submits_paused"]
    assert Counter(log["log_level"] for log in paused)["critical"] == 1
    assert {log["reason"] for log in paused} == {"account_refused"}


async def _all_are_paid_once(deployment: Deployment, jobs: list[Job]) -> None:
    for job in jobs:
        await deployment.in_state(job, "generating")
    assert len(deployment.simulator.record.tasks) == len(jobs)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


@asynccontextmanager
async def _two_workers(deployment: Deployment) -> AsyncIterator[None]:
    """Run two workers in this process, with quick brakes."""
    async with AsyncExitStack() as stack:
        for _ in range(2):
            setup = await stack.enter_async_context(open_worker(deployment.settings))
            (account,) = setup.deps.accounts
            quick = KieAccountPool([replace(account, brake=_quick_brake(setup.deps))])
            deps = replace(setup.deps, accounts=quick)
            await stack.enter_async_context(running_lanes(deps))
        yield


def _quick_brake(deps: Dependencies) -> AccountBrake:
    scripts = RedisScripts(deps.delivery_queue.redis)
    return AccountBrake(scripts, busy=QUICK, blocked=QUICK, rate_rules=HIGH_RATE)


async def _are(setup: WorkerSetup, state: str, count: int) -> bool:
    (row,) = await setup.sql("SELECT count(*) AS jobs FROM jobs WHERE state = $1", state)
    return bool(row["jobs"] == count)
