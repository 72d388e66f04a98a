"""Two accounts at Kie on real servers, checked by the record of the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr

from producer import Job, JobState
from shared.settings import Settings
from tests.support.deployment import Deployment, eventually, fast_simulator_config
from worker.simulator import Simulator, running_simulator

STUDIO, ARCHIVE = "studio-key-0123456789abcdef", "archive-key-0123456789abcdef"
IN_ORDER = f"studio={STUDIO},archive={ARCHIVE}"
TURNED = f"archive={ARCHIVE},studio={STUDIO}"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie that knows both keys and enforces 20 creates per 10 s for each."""
    config = fast_simulator_config(
        api_key=STUDIO,
        further_api_keys=(ARCHIVE,),
        creates_per_10_seconds=20,
        create_latency_seconds=0.05,
    )
    async with running_simulator(config) as simulator:
        yield simulator


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Both keys, and the limit as Kie has it."""
    return settings.model_copy(
        update={
            "kie_api_key": None,
            "kie_api_keys": SecretStr(IN_ORDER),
            "kie_submits_per_10_seconds": 20,
        }
    )


def record_of(deployment: Deployment) -> dict[str, Any]:
    summary: Any = deployment.simulator.record.summary()
    assert isinstance(summary, dict)
    return summary


async def has_created(deployment: Deployment, tasks: int) -> bool:
    return len(deployment.simulator.record.tasks) >= tasks


async def check_that_each_kept_to_its_own(deployment: Deployment, jobs: list[Job]) -> None:
    """Fail unless every task was made once, and polled only with its own key."""
    summary = record_of(deployment)
    assert summary["creates"]["refused"] == {}
    assert summary["polls"]["of_other_accounts"] == 0
    assert summary["polls"]["arrived"] >= len(jobs)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()
    rows = await deployment.run_sql("SELECT provider_task_id, provider_account FROM job_attempts")
    numbers = {"studio": 1, "archive": 2}
    for row in rows:
        task = deployment.simulator.record.tasks[row["provider_task_id"]]
        assert task.account.number == numbers[row["provider_account"]]


async def test_two_accounts_make_40_tasks_in_10_seconds_and_20_each_at_most(
    deployment: Deployment,
) -> None:
    jobs = [await deployment.enqueue() for _ in range(70)]
    async with deployment.worker(), deployment.worker():
        started_at = monotonic()
        await eventually(lambda: has_created(deployment, 40), "the first 40 are made")
        assert monotonic() - started_at < 5, "the burst of both accounts is used at once"
        ended = await asyncio.gather(*(deployment.ended(job, 60) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    summary = record_of(deployment)
    assert summary["creates"]["worst_window_10_seconds"] == 40
    assert [row["worst_window_10_seconds"] for row in summary["accounts"]] == [20, 20]
    made = [row["created"] for row in summary["accounts"]]
    # Beyond the first 40, whichever account has a slot free first takes the next job.
    assert sum(made) == 70
    assert min(made) >= 30
    await check_that_each_kept_to_its_own(deployment, jobs)


async def test_after_a_restart_with_the_accounts_turned_round_each_task_keeps_its_key(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(duration=4.0)
    jobs = [await deployment.enqueue() for _ in range(12)]
    async with deployment.worker_process() as first:
        await asyncio.gather(*(deployment.in_state(job, "generating") for job in jobs))
        await first.kill()
    async with deployment.worker_process(KIE_API_KEYS=TURNED) as second:
        ended = await asyncio.gather(*(deployment.ended(job, 60) for job in jobs))
        said = "\n".join(first.lines + second.lines)
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert [row["created"] for row in record_of(deployment)["accounts"]] == [6, 6]
    await check_that_each_kept_to_its_own(deployment, jobs)
    assert STUDIO not in said
    assert ARCHIVE not in said


@pytest.mark.parametrize("code", [401, 402, 433])
async def test_one_account_refused_pauses_alone_and_the_other_takes_its_jobs(
    deployment: Deployment, code: int
) -> None:
    deployment.simulator.set_account_faults(1, submit_code=code)
    started_at = monotonic()
    async with deployment.worker():
        jobs = [await deployment.enqueue() for _ in range(12)]
        ended = await asyncio.gather(*(deployment.ended(job, 60) for job in jobs))
        took_seconds = monotonic() - started_at
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert took_seconds < 12, "nobody waited for the pause of 15 s of the refused account"
    assert [row["created"] for row in record_of(deployment)["accounts"]] == [0, 12]
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_a_removed_key_is_logged_as_an_error_and_put_back_in_time(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(duration=3.0)
    jobs = [await deployment.enqueue() for _ in range(6)]
    async with deployment.worker():
        await asyncio.gather(*(deployment.in_state(job, "generating") for job in jobs))
    async with deployment.worker_process(KIE_API_KEYS=f"studio={STUDIO}") as without:

        async def is_missed() -> bool:
            return any("kie_account_missing" in line for line in without.lines)

        await eventually(is_missed, "the missing key is said")
        states = await deployment.run_sql(
            "SELECT state FROM jobs JOIN job_attempts ON job_id = jobs.id"
            " WHERE provider_account = 'archive'"
        )
        assert [row["state"] for row in states] == ["generating"] * 3
    async with deployment.worker():
        finished = await asyncio.gather(*(deployment.ended(job, 60) for job in jobs))
    assert {job.state for job in finished} == {JobState.SUCCEEDED}
    await check_that_each_kept_to_its_own(deployment, jobs)
