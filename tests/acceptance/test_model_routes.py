"""The dedicated endpoint of 4o is gone: no job fails for it, and one command moves them all.

Paid tasks are counted by the record of the simulator.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from producer import Job, JobState, Order
from tests.support.deployment import Deployment, eventually, text_to_image

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
JOBS = 200
DOUBLE = 10
"""How many of them are of two images, which the new route cannot carry."""


def orders(prefix: str, singles: int, doubles: int) -> list[Order]:
    return [
        Order(
            request=text_to_image(
                f"[[sim: duration=2]] {prefix} {number}", quantity=2 if number < doubles else 1
            ),
            account_id="acme",
        )
        for number in range(singles + doubles)
    ]


async def states(deployment: Deployment) -> Counter[tuple[str, str | None]]:
    rows = await deployment.run_sql("SELECT state, reason FROM jobs")
    return Counter((row["state"], row["reason"]) for row in rows)


async def routes_of_attempts(deployment: Deployment) -> Counter[tuple[str | None, str | None]]:
    rows = await deployment.run_sql("SELECT route, outcome FROM job_attempts")
    return Counter((row["route"], row["outcome"]) for row in rows)


async def alerts(deployment: Deployment) -> dict[str, str]:
    return {one.name: one.fix for one in (await deployment.producer.overview()).alerts}


def endpoints(deployment: Deployment) -> Counter[str]:
    return Counter(one.request.endpoint for one in deployment.simulator.record.tasks.values())


async def lose_the_endpoint_in_the_middle(deployment: Deployment) -> tuple[list[Job], list[Job]]:
    """Enqueue all jobs, and end the dedicated endpoint while half of the first ones are at Kie.

    Returns the jobs that the new route can carry, and the others.
    """
    producer = deployment.producer
    half = JOBS // 2
    first = await producer.enqueue_many(orders("before", half, 0))

    async def are_at_kie() -> bool:
        return (await states(deployment))["generating", None] >= half // 2

    await eventually(are_at_kie, "half of them are at Kie")
    deployment.simulator.set_faults(retired_routes="generate")
    second = await producer.enqueue_many(orders("after", half - DOUBLE, DOUBLE))
    return [*first, *second[DOUBLE:]], second[:DOUBLE]


async def check_the_alert_names_the_command(deployment: Deployment) -> None:
    async def is_told() -> bool:
        return "submits_paused" in await alerts(deployment)

    await eventually(is_told, "the alert is raised")
    told = await alerts(deployment)
    assert list(told) == ["submits_paused"]
    assert f"`darkroom models route {MODEL} --via {ROUTE}`" in told["submits_paused"]


async def test_two_hundred_jobs_survive_the_end_of_their_endpoint_in_the_middle(
    deployment: Deployment,
) -> None:
    producer = deployment.producer

    async def only_the_doubles_are_told_of() -> bool:
        return set(await alerts(deployment)) == {"route_unfit"}

    async def the_preview_counts_the_doubles() -> bool:
        # A probe claims one for a moment.
        preview = await producer.models.preview(MODEL, ROUTE)
        return (preview.waiting, preview.waiting_by_field) == (DOUBLE, {"quantity": DOUBLE})

    async with deployment.worker():
        singles, doubles = await lose_the_endpoint_in_the_middle(deployment)
        await check_the_alert_names_the_command(deployment)
        await eventually(the_preview_counts_the_doubles, "the preview counts all that will wait")
        at_kie = len(deployment.simulator.record.tasks)

        await producer.models.route(MODEL, ROUTE, reason="it answers 404")
        ended = await asyncio.gather(*(deployment.ended(job) for job in singles))
        assert {job.state for job in ended} == {JobState.SUCCEEDED}
        assert endpoints(deployment) == {"dedicated": at_kie, "market": len(singles) - at_kie}
        await eventually(only_the_doubles_are_told_of, "nothing else is wrong")
        assert (await states(deployment))["queued", "route_unfit"] == DOUBLE
        await deployment.check_account(balance=10_000 - 6 * len(singles), held=7 * DOUBLE)

        deployment.simulator.set_faults(retired_routes="none")
        await producer.models.route(MODEL, MODEL, reason="it is back")
        last = await asyncio.gather(*(deployment.ended(job) for job in doubles))
        assert {job.state for job in last} == {JobState.SUCCEEDED}
    assert len(deployment.simulator.record.tasks) == JOBS
    attempts = await routes_of_attempts(deployment)
    assert attempts[None, "accepted"] == at_kie + DOUBLE
    assert attempts[ROUTE, "accepted"] == len(singles) - at_kie
    assert set(attempts) == {(None, "accepted"), (ROUTE, "accepted"), (None, "deferred")}
    deployment.check_paid_once()
    await deployment.check_account(balance=10_000 - 6 * len(singles) - 7 * DOUBLE)
    await deployment.check_invariants_hold()


@pytest.mark.parametrize(("point", "paid"), [("after_claim", 0), ("after_post", 1)])
async def test_a_worker_that_dies_around_a_post_by_the_new_route_pays_once(
    deployment: Deployment, point: str, paid: int
) -> None:
    await deployment.producer.models.route(MODEL, ROUTE)
    async with deployment.worker_process(DARKROOM_CRASH_AT=point) as doomed:
        job = await deployment.enqueue()
        async with asyncio.timeout(20):
            assert await doomed.process.wait() == -9
    await deployment.producer.models.route(MODEL, MODEL)
    async with deployment.worker(unknown_limit_seconds=1):
        ended: Job = await deployment.ended(job, 40)
        assert (ended.state, ended.reason, ended.route) == (
            JobState.FAILED,
            "submission_lost",
            ROUTE,
        )
    assert endpoints(deployment) == ({"market": paid} if paid else {})
    assert await routes_of_attempts(deployment) == {(ROUTE, "lost"): 1}
    await deployment.check_account(balance=10_000)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()
