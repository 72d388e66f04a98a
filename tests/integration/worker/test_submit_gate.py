"""20 new generations per 10 s for one account, shared by all workers: above that, jobs wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from uuid import UUID

import pytest
from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import Lane
from shared.settings import Settings
from tests.integration.worker.bare_lanes import Runs, commands, deliver, lane_over, running
from tests.support.deployment import Deployment, eventually, fast_simulator_config
from worker.batching.redis_scripts import RedisScripts
from worker.limits.submit_gates import SubmitGate, SubmitGates
from worker.limits.throttle import Throttle, submit_limit
from worker.simulator import Simulator, running_simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie that enforces its limit."""
    config = fast_simulator_config(creates_per_10_seconds=20, create_latency_seconds=0.1)
    async with running_simulator(config) as simulator:
        simulator.set_faults(duration=60.0)
        yield simulator


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The limit as Kie has it."""
    return settings.model_copy(update={"kie_submits_per_10_seconds": 20})


async def test_two_workers_share_the_limit_without_a_single_429_and_close_to_it(
    deployment: Deployment, redis: ArqRedis
) -> None:
    jobs = [await deployment.enqueue() for _ in range(45)]
    tasks = deployment.simulator.record.tasks

    async def are_submitted(count: int) -> bool:
        return len(tasks) >= count

    async with deployment.worker(), deployment.worker():
        started_at = monotonic()
        await eventually(lambda: are_submitted(20), "the first 20 are submitted")
        assert monotonic() - started_at < 2, "the limit's burst is used at once"
        before = await commands(redis)
        counted_from = monotonic()
        await eventually(lambda: are_submitted(21), "the next may be submitted")
        waited_seconds = monotonic() - counted_from
        used = await commands(redis) - before
        await eventually(lambda: are_submitted(40), "the second 20 are submitted")
        assert monotonic() - started_at < 13
        states = [(await deployment.producer.get(job.id)).state.value for job in jobs]
    record = deployment.simulator.record
    assert record.creates_refused["rate_limit"] == 0
    assert record.creates_admitted.worst == 20
    assert set(states) <= {"queued", "submitting", "generating"}, "what is above the limit waits"
    # Two workers, two lanes each, looking twice a second; the rest is the polls of 20 tasks, each
    # once a second at most and four scripts at most.
    scripts_per_second = used["evalsha"] / waited_seconds
    assert scripts_per_second < 40 + 20 * 4, (
        f"{scripts_per_second:.0f} scripts a second while nothing can be submitted: {used}"
    )
    deployment.check_paid_once()


async def test_the_claim_leaves_what_may_not_be_submitted_unclaimed(
    redis: ArqRedis, scripts: RedisScripts
) -> None:
    throttle = Throttle(scripts, submit_limit(5, 30))
    granted = asyncio.Semaphore(0)

    async def hold(job_id: str) -> None:
        async with throttle.permit("kie", reservation_of=Lane.SUBMIT.arq_id(UUID(job_id))):
            granted.release()
            await asyncio.Event().wait()

    async def has_been_granted(times: int) -> None:
        async with asyncio.timeout(5):
            for _ in range(times):
                await granted.acquire()

    full = Runs(hold)
    gates = [SubmitGate(throttle.limit.key("kie"), 5)]
    await deliver(redis, 5, lane=Lane.SUBMIT)
    async with running(lane_over(redis, full, lane=Lane.SUBMIT, gates=SubmitGates(gates))):
        await has_been_granted(5)
        await deliver(redis, 100, lane=Lane.SUBMIT)
        others = [Runs() for _ in range(3)]
        before = await commands(redis)
        async with running(
            *(lane_over(redis, runs, lane=Lane.SUBMIT, gates=SubmitGates(gates)) for runs in others)
        ):
            started_at = monotonic()
            await eventually(
                lambda: _claimed_again(redis, before["evalsha"] + 12), "all have looked"
            )
            assert monotonic() - started_at > 0.5, "they claim without a pause"
        used = await commands(redis) - before
    assert [runs.count.total() for runs in others] == [0, 0, 0]
    assert used["get"] <= 20, used  # the leases of the five, renewed inside scripts


async def _claimed_again(redis: ArqRedis, times: int) -> bool:
    return (await commands(redis))["evalsha"] >= times
