"""A worker killed between each pair of steps: nothing lost, nothing paid or charged twice.

The judge is the simulator's own record of what it was paid for.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

import pytest

from producer import Job, JobState
from tests.support.deployment import Workshop, eventually

# What another worker makes of the job, and how often the simulator was paid for it. Without
# a callback nobody can know whether an unanswered POST made a task, so such a job ends lost.
_ROWS = [
    ("before_claim", JobState.SUCCEEDED, None, 1),
    ("after_claim", JobState.FAILED, "submission_lost", 0),
    ("after_post", JobState.FAILED, "submission_lost", 1),
    ("after_submitted", JobState.SUCCEEDED, None, 1),
    ("after_poll", JobState.SUCCEEDED, None, 1),
    ("after_settle", JobState.SUCCEEDED, None, 1),
]


async def _crash(workshop: Workshop, point: str) -> Job:
    """Run a worker that kills itself at the point while it works on one job."""
    async with workshop.worker_process(DARKROOM_CRASH_AT=point) as doomed:
        job = await workshop.enqueue()
        async with asyncio.timeout(20):
            assert await doomed.process.wait() == -9
    return job


@pytest.mark.parametrize(("point", "state", "reason", "paid"), _ROWS)
async def test_sigkill_between_steps_loses_nothing_and_pays_once(
    workshop: Workshop, point: str, state: JobState, reason: str | None, paid: int
) -> None:
    job = await _crash(workshop, point)
    async with workshop.worker(unknown_limit_seconds=1):
        ended = await workshop.ended(job, 40)
    assert (ended.state, ended.reason) == (state, reason)
    assert len(workshop.simulator.record.tasks) == paid
    charged = 6 if state is JobState.SUCCEEDED else 0
    await workshop.check_account(balance=10_000 - charged)
    workshop.check_paid_once()
    await workshop.check_books()


async def test_sigkill_jobs_of_a_dead_worker_move_again_within_15_seconds(
    workshop: Workshop,
) -> None:
    workshop.simulator.set_faults(never_ends=1.0)
    async with workshop.worker_process() as doomed:
        jobs = [await workshop.enqueue() for _ in range(20)]
        await asyncio.gather(*(workshop.in_state(job, "generating") for job in jobs))
        async with workshop.worker_process():
            await doomed.kill()
            killed_at = monotonic()
            asked = {job.id: await _polls_of(workshop, job) for job in jobs}

            async def is_asked_again(job: Job) -> bool:
                return await _polls_of(workshop, job) > asked[job.id]

            for job in jobs:
                await eventually(partial(is_asked_again, job), f"{job.id} is polled again")
            took_seconds = monotonic() - killed_at
    assert took_seconds < 15


async def _polls_of(workshop: Workshop, job: Job) -> int:
    """Return how often the simulator has been asked about the job's task."""
    task_id = (await workshop.producer.get(job.id)).provider_task_id
    assert task_id is not None
    return workshop.simulator.record.tasks[task_id].arrivals.total


async def test_sigterm_finishes_the_post_in_flight_and_hands_the_rest_back(
    workshop: Workshop,
) -> None:
    workshop.simulator.set_faults(create_hang=1.0, create_hang_seconds=1.5)
    async with workshop.worker_process() as process:
        job = await workshop.enqueue()
        await workshop.in_state(job, "submitting")
        while not workshop.simulator.record.tasks:
            await asyncio.sleep(0.02)
        assert await process.stop() == 0
    assert (await workshop.producer.get(job.id)).state is JobState.GENERATING
    async with workshop.worker():
        assert (await workshop.ended(job)).state is JobState.SUCCEEDED
    workshop.check_paid_once()
    assert len(workshop.simulator.record.tasks) == 1
