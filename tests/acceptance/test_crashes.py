"""A worker killed between each pair of steps: nothing lost, nothing paid or charged twice.

Paid tasks are counted by the record of the simulator.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

import pytest

from producer import Job, JobState
from tests.support.deployment import Deployment, eventually

# What another worker makes of the job, and how often the simulator was paid for it. Without
# a callback nobody can know whether an unanswered POST made a task, so such a job ends lost.
_ROWS = [
    ("after_choose", JobState.SUCCEEDED, None, 1),
    ("before_claim", JobState.SUCCEEDED, None, 1),
    ("after_claim", JobState.FAILED, "submission_lost", 0),
    ("after_post", JobState.FAILED, "submission_lost", 1),
    ("after_submitted", JobState.SUCCEEDED, None, 1),
    ("after_poll", JobState.SUCCEEDED, None, 1),
    ("after_settle", JobState.SUCCEEDED, None, 1),
]


async def _crash(deployment: Deployment, point: str) -> Job:
    """Run a worker that kills itself at the point while it works on one job."""
    if point == "after_choose":
        # The job of an account with a limit waits until a worker chooses it.
        await deployment.run_sql("UPDATE accounts SET max_open_jobs = 5")
    async with deployment.worker_process(DARKROOM_CRASH_AT=point) as doomed:
        job = await deployment.enqueue()
        async with asyncio.timeout(20):
            assert await doomed.process.wait() == -9
    return job


@pytest.mark.parametrize(("point", "state", "reason", "paid"), _ROWS)
async def test_sigkill_between_steps_loses_nothing_and_pays_once(
    deployment: Deployment, point: str, state: JobState, reason: str | None, paid: int
) -> None:
    job = await _crash(deployment, point)
    async with deployment.worker(unknown_limit_seconds=1):
        ended = await deployment.ended(job, 40)
    assert (ended.state, ended.reason) == (state, reason)
    assert len(deployment.simulator.record.tasks) == paid
    charged = 6 if state is JobState.SUCCEEDED else 0
    await deployment.check_account(balance=10_000 - charged)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_sigkill_jobs_of_a_dead_worker_move_again_within_15_seconds(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(never_ends=1.0)
    async with deployment.worker_process() as doomed:
        jobs = [await deployment.enqueue() for _ in range(20)]
        await asyncio.gather(*(deployment.in_state(job, "generating") for job in jobs))
        async with deployment.worker_process():
            await doomed.kill()
            killed_at = monotonic()
            asked = {job.id: await _polls_of(deployment, job) for job in jobs}

            async def is_asked_again(job: Job) -> bool:
                return await _polls_of(deployment, job) > asked[job.id]

            for job in jobs:
                await eventually(partial(is_asked_again, job), f"{job.id} is polled again")
            took_seconds = monotonic() - killed_at
    assert took_seconds < 15


async def _polls_of(deployment: Deployment, job: Job) -> int:
    """Return how often the simulator has been asked about the job's task."""
    task_id = (await deployment.producer.get(job.id)).provider_task_id
    assert task_id is not None
    return deployment.simulator.record.tasks[task_id].arrivals.total


async def test_sigterm_finishes_the_post_in_flight_and_hands_the_rest_back(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(create_hang=1.0, create_hang_seconds=1.5)
    async with deployment.worker_process() as process:
        job = await deployment.enqueue()
        await deployment.in_state(job, "submitting")
        while not deployment.simulator.record.tasks:
            await asyncio.sleep(0.02)
        assert await process.stop() == 0
    assert (await deployment.producer.get(job.id)).state is JobState.GENERATING
    async with deployment.worker():
        assert (await deployment.ended(job)).state is JobState.SUCCEEDED
    deployment.check_paid_once()
    assert len(deployment.simulator.record.tasks) == 1
