"""Every model of Kie's Market from enqueue to the charge, against the simulated Market."""

from __future__ import annotations

import pytest

from producer import JobState
from shared.catalog import ImageRequest, list_families
from shared.catalog.market_family import MarketRequest
from tests.support.deployment import Deployment, eventually

FAMILIES = {name: family for name, family in list_families().items() if family.kie_models}


def marked(request: ImageRequest, directives: str) -> ImageRequest:
    """Return the request with directives for the simulator in its prompt."""
    fields = request.model_dump(mode="json", exclude_none=True)
    fields["prompt"] = f"{fields.get('prompt', '')} [[sim: {directives}]]"
    return FAMILIES[request.model].validate(request.task, fields)


def examples() -> list[ImageRequest]:
    return [
        family.validate(task, fields)
        for family in FAMILIES.values()
        for task, model in family.tasks.items()
        for fields in model.model_json_schema()["examples"]
    ]


@pytest.fixture
async def priced(deployment: Deployment) -> Deployment:
    """The deployment with a price for every example, where it has none yet."""
    async with deployment.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        for request in examples():
            assert isinstance(request, MarketRequest)
            models = {one.name: one for one in FAMILIES[request.model].kie_models}
            await connection.execute(
                "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
                " VALUES ($1, $2, 1, $3, $4, $4) ON CONFLICT DO NOTHING",
                *(request.model, request.task, request.price_variant),
                models[request.kie_model].credits_for(request.kie_input()),
            )
    return deployment


async def test_every_example_of_every_model_is_delivered_and_charged_as_kie_charges(
    priced: Deployment,
) -> None:
    deployment = priced
    requests = [marked(one, f"duration=0.2, image_kib={at}") for at, one in enumerate(examples())]
    async with deployment.worker_with_callbacks():
        jobs = [await deployment.enqueue(request) for request in requests]
        ended = [await deployment.ended(job) for job in jobs]
    for job in ended:
        assert (job.state, len(job.result_urls)) == (JobState.SUCCEEDED, 1), job.message
    tasks = deployment.simulator.record.tasks.values()
    assert {task.request.road for task in tasks} == {"market"}
    by_prompt = {task.request.prompt: task.credits for task in tasks}
    charges = [job.credits_charged for job in ended]
    assert charges == [by_prompt[job.request["prompt"]] for job in ended]
    assert len(set(charges)) > 3
    await deployment.check_account(balance=10_000 - int(sum(charge or 0 for charge in charges)))
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_failures_of_the_market_cost_nothing_and_say_whose_fault_they_were(
    priced: Deployment,
) -> None:
    deployment = priced
    expected = {
        "content_policy": "content_policy",
        "nsfw": "content_policy",
        "image_fetch_failed": "provider_failed",
        "upstream_timed_out": "provider_failed",
    }
    request = examples()[0]
    async with deployment.worker():
        jobs = {
            outcome: await deployment.enqueue(marked(request, f"outcome={outcome}, duration=0.1"))
            for outcome in expected
        }
        ended = {outcome: await deployment.ended(job) for outcome, job in jobs.items()}
    assert {outcome: job.reason for outcome, job in ended.items()} == expected
    await deployment.check_account(balance=10_000)
    assert deployment.simulator.record.account.describe()["net"] == 0
    await deployment.check_invariants_hold()


async def test_a_retired_market_stops_its_models_and_rejects_none_of_their_jobs(
    priced: Deployment,
) -> None:
    deployment = priced
    deployment.simulator.set_faults(retired_routes="market")
    request = marked(examples()[0], "duration=0.1")
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
