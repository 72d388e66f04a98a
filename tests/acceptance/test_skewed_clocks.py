"""Worker processes with wrong clocks: no task fails, and no job waits.

Polls are counted by the record of the simulator, on the machine's clock.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from producer import JobState
from tests.support.deployment import Deployment, eventually, text_to_image
from tests.support.skewed_clock import SkewedClock

MINUTE = 60
HOUR = 3600
JOBS = 6


async def _all_succeed(deployment: Deployment, timeout_seconds: float = 20) -> None:
    jobs = [
        await deployment.enqueue(text_to_image(f"{n} [[sim: duration=3]]")) for n in range(JOBS)
    ]
    ends = await asyncio.gather(*(deployment.ended(job, timeout_seconds) for job in jobs))
    assert [end.state for end in ends] == [JobState.SUCCEEDED] * JOBS, ends
    for end in ends:
        assert end.submitted_at is not None
        assert end.finished_at is not None
        assert (end.submitted_at - end.created_at).total_seconds() < 6, "submitted late"
        assert (end.finished_at - end.submitted_at).total_seconds() < 10, "polled late"
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("ahead_seconds", [30 * MINUTE, 10 * MINUTE, -10 * MINUTE, -HOUR])
async def test_a_worker_with_a_wrong_clock_does_all_work_on_time(
    deployment: Deployment, tmp_path: Path, ahead_seconds: int
) -> None:
    clock = SkewedClock(tmp_path, ahead_seconds)
    async with deployment.worker_process(**clock.environment) as worker:
        await _all_succeed(deployment)
        assert any("clock_skew" in line for line in worker.lines), "the skew is not reported"


async def test_a_worker_with_a_wrong_clock_beside_right_ones_does_no_harm(
    deployment: Deployment, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        for ahead_seconds in (0, 40 * MINUTE, -40 * MINUTE):
            clock = SkewedClock(tmp_path, ahead_seconds)
            await stack.enter_async_context(deployment.worker_process(**clock.environment))
        await _all_succeed(deployment)


@pytest.mark.parametrize("jump_seconds", [HOUR, -HOUR])
async def test_a_clock_that_is_set_while_a_worker_runs_stops_nothing(
    deployment: Deployment, redis: ArqRedis, tmp_path: Path, jump_seconds: int
) -> None:
    clock = SkewedClock(tmp_path, 0)
    async with deployment.worker_process(**clock.environment):
        job = await deployment.enqueue(text_to_image("[[sim: duration=6]]"))
        await deployment.in_state(job, "generating")
        clock.set(jump_seconds)
        assert (await deployment.ended(job)).state is JobState.SUCCEEDED
        await _all_succeed(deployment)
        # The reconciler still runs: what Redis has lost is delivered again.
        deployment.simulator.set_faults(never_ends=1.0)
        lost = await deployment.enqueue()
        await deployment.in_state(lost, "generating")
        await redis.flushall()

        async def is_delivered() -> bool:
            return bool(await redis.zcard("darkroom:poll") == 1)

        await eventually(is_delivered, "the delivery is made again", 20)
