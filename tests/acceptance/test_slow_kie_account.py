"""Of two accounts at Kie one is slow, and the other continues with its own slots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from pydantic import SecretStr

from producer import Job, JobState
from producer.orders.order import Order
from shared.settings import Settings
from tests.support.deployment import Deployment, eventually, fast_simulator_config, text_to_image
from worker.queue.lanes import POLLS_AT_ONCE, SUBMITS_AT_ONCE
from worker.simulator import Simulator, running_simulator

STUDIO, ARCHIVE = "studio-key-0123456789abcdef", "archive-key-0123456789abcdef"
SLOW_SECONDS = 15.0
JOBS = 200


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie that knows both keys and has no limit."""
    config = fast_simulator_config(api_key=STUDIO, further_api_keys=(ARCHIVE,))
    async with running_simulator(config) as simulator:
        yield simulator


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Both keys."""
    keys = SecretStr(f"studio={STUDIO},archive={ARCHIVE}")
    return settings.model_copy(update={"kie_api_key": None, "kie_api_keys": keys})


async def enqueue(deployment: Deployment, jobs: int) -> list[Job]:
    requests = [text_to_image(f"picture {number}") for number in range(jobs)]
    orders = [Order(request=request, account_id="acme") for request in requests]
    return await deployment.producer.enqueue_many(orders)


async def succeeded(deployment: Deployment) -> int:
    rows = await deployment.run_sql("SELECT count(*) AS jobs FROM jobs WHERE state = 'succeeded'")
    return int(rows[0]["jobs"])


async def test_slow_submits_leave_half_of_the_slots_to_the_other_account(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_account_faults(1, create_hang=1.0, create_hang_seconds=SLOW_SECONDS)
    share = SUBMITS_AT_ONCE // 2
    jobs = await enqueue(deployment, JOBS)
    started_at = monotonic()
    async with deployment.worker():
        await eventually(lambda: _have_ended(deployment, JOBS - share), "the other account's end")
        assert monotonic() - started_at < SLOW_SECONDS, "before the slow one answers at all"
        assert await succeeded(deployment) < JOBS, "the slow one has some"
        ended = await asyncio.gather(*(deployment.ended(job, 60) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_each_of_two_accounts_has_half_of_the_polls(deployment: Deployment) -> None:
    async with deployment.worker() as resources:
        assert resources.deps.poll_state.concurrency.limit_per_account == POLLS_AT_ONCE // 2
    one = SecretStr(f"studio={STUDIO}")
    async with deployment.worker(kie_api_keys=one) as resources:
        assert resources.deps.poll_state.concurrency.limit_per_account is None


async def _have_ended(deployment: Deployment, jobs: int) -> bool:
    return await succeeded(deployment) >= jobs
