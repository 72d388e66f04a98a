"""Every model of Kie's Market from enqueue to the charge, against the simulated Market."""

from __future__ import annotations

import pytest

from producer import JobFilter, JobState, build_request
from producer.bulk.job_selection import JobSelection
from tests.support.deployment import Deployment, eventually
from tests.support.market_jobs import market_examples, with_directives


async def test_every_example_of_every_model_is_delivered_and_charged_as_kie_charges(
    deployment: Deployment,
) -> None:
    requests = [
        with_directives(one, f"duration=0.2{number:02d}")
        for number, one in enumerate(market_examples())
    ]
    async with deployment.worker_with_callbacks():
        jobs = [await deployment.enqueue(request) for request in requests]
        ended = [await deployment.ended(job) for job in jobs]
    for job in ended:
        assert (job.state, len(job.result_urls)) == (JobState.SUCCEEDED, 1), job.message
    tasks = deployment.simulator.record.tasks.values()
    assert {task.request.endpoint for task in tasks} == {"market"}
    by_prompt = {task.request.prompt: task.credits for task in tasks}
    charges = [job.credits_charged for job in ended]
    assert charges == [by_prompt[job.request["prompt"]] for job in ended]
    assert len(set(charges)) > 3
    await deployment.check_account(balance=10_000 - int(sum(charge or 0 for charge in charges)))
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_failures_of_the_market_cost_nothing_and_say_whose_fault_they_were(
    deployment: Deployment,
) -> None:
    expected = {
        "content_policy": "content_policy",
        "nsfw": "content_policy",
        "image_fetch_failed": "provider_failed",
        "upstream_timed_out": "provider_failed",
    }
    request = market_examples()[0]
    async with deployment.worker():
        jobs = {
            outcome: await deployment.enqueue(
                with_directives(request, f"outcome={outcome}, duration=0.1")
            )
            for outcome in expected
        }
        ended = {outcome: await deployment.ended(job) for outcome, job in jobs.items()}
    assert {outcome: job.reason for outcome, job in ended.items()} == expected
    await deployment.check_account(balance=10_000)
    assert deployment.simulator.record.account.describe()["net"] == 0
    await deployment.check_invariants_hold()


async def test_a_retired_market_stops_its_models_and_rejects_none_of_their_jobs(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(retired_routes="market")
    request = with_directives(market_examples()[0], "duration=0.1")
    async with deployment.worker():
        job = await deployment.enqueue(request)

        async def is_refused() -> bool:
            return deployment.simulator.record.creates_refused["retired"] > 0

        await eventually(is_refused, "the Market was tried")
        other = await deployment.ended(await deployment.enqueue())
        assert other.state == JobState.SUCCEEDED
        waiting = await deployment.in_state(job, "queued")
    assert waiting.credits_quoted is not None
    await deployment.check_account(balance=10_000 - 6, held=int(waiting.credits_quoted))
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("switch", ["gone_model", "paused_model"])
async def test_a_model_that_kie_has_withdrawn_stops_its_family_and_rejects_none_of_its_jobs(
    deployment: Deployment, switch: str
) -> None:
    deployment.simulator.set_faults(**{switch: "gpt-image-2-text-to-image"})
    asked = [build_request("gpt-image-2", "text-to-image", prompt=f"boat {n}") for n in range(5)]
    held = 6 * len(asked)

    async def is_told() -> bool:
        return bool((await deployment.producer.overview()).alerts)

    async with deployment.worker():
        jobs = [await deployment.enqueue(one) for one in asked[:-1]]
        await eventually(is_told, "an alert is raised")
        jobs.append(await deployment.enqueue(asked[-1]))
        other = await deployment.ended(await deployment.enqueue())
        assert other.state == JobState.SUCCEEDED
        [alert] = (await deployment.producer.overview()).alerts
        assert alert.name == "submits_paused"
        assert "(model_gone: Kie answered" in alert.detail
        assert "`darkroom queue pause --model gpt-image-2`" in alert.fix
        waiting = [(await deployment.producer.get(job.id)).state for job in jobs]
        assert set(waiting) == {JobState.QUEUED}
        assert (await deployment.producer.get(jobs[-1].id)).attempt == 0, "it was not tried"
        await deployment.check_account(balance=10_000 - 6, held=held)

        # The alert names this as well.
        given_up = JobFilter(model="gpt-image-2", state=JobState.QUEUED)
        await deployment.producer.cancel_many(JobSelection(where=given_up))
    await deployment.check_account(balance=10_000 - 6)
    await deployment.check_invariants_hold()


async def test_a_request_that_kie_refuses_is_rejected_at_once_and_stops_no_other(
    deployment: Deployment,
) -> None:
    asked = market_examples()[0]
    async with deployment.worker_with_callbacks():
        jobs = [
            await deployment.enqueue(with_directives(asked, f"submit_code={code}"))
            for code in (400, 404, 422, 505)
        ]
        assert {(await deployment.ended(job)).reason for job in jobs} == {"rejected"}
        other = await deployment.enqueue(with_directives(asked, "duration=0.1"))
        assert (await deployment.ended(other)).state == JobState.SUCCEEDED
        assert (await deployment.producer.overview()).alerts == ()
    await deployment.check_invariants_hold()
