"""Every model of Kie's Market from enqueue to the charge, against the simulated Market."""

from __future__ import annotations

import pytest

from producer import JobState
from tests.support.deployment import Deployment, eventually
from tests.support.market_jobs import market_examples, price_market, with_directives


@pytest.fixture
async def priced(deployment: Deployment) -> Deployment:
    """The deployment with a price for every example."""
    await price_market(deployment.database)
    return deployment


async def test_every_example_of_every_model_is_delivered_and_charged_as_kie_charges(
    priced: Deployment,
) -> None:
    requests = [
        with_directives(one, f"duration=0.2{number:02d}")
        for number, one in enumerate(market_examples())
    ]
    async with priced.worker_with_callbacks():
        jobs = [await priced.enqueue(request) for request in requests]
        ended = [await priced.ended(job) for job in jobs]
    for job in ended:
        assert (job.state, len(job.result_urls)) == (JobState.SUCCEEDED, 1), job.message
    tasks = priced.simulator.record.tasks.values()
    assert {task.request.road for task in tasks} == {"market"}
    by_prompt = {task.request.prompt: task.credits for task in tasks}
    charges = [job.credits_charged for job in ended]
    assert charges == [by_prompt[job.request["prompt"]] for job in ended]
    assert len(set(charges)) > 3
    await priced.check_account(balance=10_000 - int(sum(charge or 0 for charge in charges)))
    await priced.check_invariants_hold()
    priced.check_paid_once()


async def test_failures_of_the_market_cost_nothing_and_say_whose_fault_they_were(
    priced: Deployment,
) -> None:
    expected = {
        "content_policy": "content_policy",
        "nsfw": "content_policy",
        "image_fetch_failed": "provider_failed",
        "upstream_timed_out": "provider_failed",
    }
    request = market_examples()[0]
    async with priced.worker():
        jobs = {
            outcome: await priced.enqueue(
                with_directives(request, f"outcome={outcome}, duration=0.1")
            )
            for outcome in expected
        }
        ended = {outcome: await priced.ended(job) for outcome, job in jobs.items()}
    assert {outcome: job.reason for outcome, job in ended.items()} == expected
    await priced.check_account(balance=10_000)
    assert priced.simulator.record.account.describe()["net"] == 0
    await priced.check_invariants_hold()


async def test_a_retired_market_stops_its_models_and_rejects_none_of_their_jobs(
    priced: Deployment,
) -> None:
    priced.simulator.set_faults(retired_routes="market")
    request = with_directives(market_examples()[0], "duration=0.1")
    async with priced.worker():
        job = await priced.enqueue(request)

        async def is_refused() -> bool:
            return priced.simulator.record.creates_refused["retired"] > 0

        await eventually(is_refused, "the Market was tried")
        other = await priced.ended(await priced.enqueue())
        assert other.state == JobState.SUCCEEDED
        waiting = await priced.in_state(job, "queued")
    assert waiting.credits_quoted is not None
    await priced.check_account(balance=10_000 - 6, held=int(waiting.credits_quoted))
    await priced.check_invariants_hold()
