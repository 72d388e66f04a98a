"""Images that come after the end of their job are stored, shown and reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from producer import Job, Producer
from shared.adapters.servers import Servers
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, receiving
from tests.support.deployment import Deployment, eventually, text_to_image

SLOW = "[[sim: duration=4]]"
CHECK_NOW = "UPDATE late_tasks SET next_check_at = now() WHERE outcome IS NULL"


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    """A producer under the development setting, as the workers here are."""
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as producer:
        yield producer


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


async def images_came(deployment: Deployment, job: Job, *, check_now: bool) -> Job:
    """Wait for the late images; return the job with them."""

    async def are_there() -> bool:
        if check_now:
            await deployment.run_sql(CHECK_NOW)
        return bool((await deployment.producer.get(job.id)).late_result_urls)

    await eventually(are_there, "the late images are on the job", 60)
    return await deployment.producer.get(job.id)


@pytest.mark.parametrize("has_callbacks", [True, False])
async def test_images_that_come_after_the_deadline_are_kept_shown_and_told(
    deployment: Deployment, receiver: FakeWebhookReceiver, has_callbacks: bool
) -> None:
    changes = {"job_deadline_seconds": 1.0, "webhooks_allow_loopback": True}
    running = deployment.worker_with_callbacks if has_callbacks else deployment.worker
    async with running(**changes), deployment.api() as api:
        job = await deployment.ended(
            await deployment.enqueue(text_to_image(SLOW, quantity=2), webhook_url=receiver.url)
        )
        assert (job.state, job.reason) == ("failed", "deadline_exceeded")
        late = await images_came(deployment, job, check_now=not has_callbacks)
        assert late.late_result_urls is not None
        assert len(late.late_result_urls) == 2
        assert (late.state, late.result_urls, late.credits_charged) == ("failed", (), None)
        shown = (await api.get(f"/v1/jobs/{job.id}")).expect(200)
        assert shown["late_result_urls"] == list(late.late_result_urls)

        async def are_told() -> bool:
            return len(receiver.requests) == 2

        await eventually(are_told, "the end and the late images are reported")
    end, told = [one.object for one in receiver.requests]
    assert (end["type"], end["data"]["late_result_urls"]) == ("job.failed", None)
    assert (told["type"], told["data"]) == ("job.delivered_late", shown)
    events = await deployment.run_sql("SELECT event FROM job_events ORDER BY id DESC LIMIT 1")
    assert events[0]["event"] == "delivered_late"
    await deployment.check_account(balance=10_000)
    await deployment.check_invariants_hold()


async def test_a_task_is_found_when_kie_answers_again_after_it_was_given_up(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(poll_code=500)
    async with deployment.worker():
        job = await deployment.enqueue(text_to_image("[[sim: duration=2]]"))
        job = await deployment.in_state(job, "generating")
    # Later than any last poll. Kie answers 500 throughout.
    await deployment.run_sql("UPDATE jobs SET deadline_at = now() - interval '6 min'")
    async with deployment.worker():
        ended = await deployment.ended(job)
        assert (ended.state, ended.reason) == ("failed", "deadline_exceeded")
        await deployment.run_sql(CHECK_NOW)

        async def was_checked() -> bool:
            return bool(await deployment.run_sql("SELECT FROM late_tasks WHERE checks > 0"))

        await eventually(was_checked, "a check met the 500", 30)
        deployment.simulator.set_faults(poll_code=0)
        await images_came(deployment, job, check_now=True)
    await deployment.check_account(balance=10_000)
    await deployment.check_invariants_hold()


async def test_a_worker_killed_while_it_checks_leaves_the_images_to_another(
    deployment: Deployment,
) -> None:
    async with deployment.worker_process(JOB_DEADLINE_SECONDS="1") as doomed:
        job = await deployment.ended(await deployment.enqueue(text_to_image(SLOW)))
        assert job.reason == "deadline_exceeded"
        tasks = deployment.simulator.record.tasks
        asked = len(await deployment.run_sql("SELECT FROM late_tasks"))
        assert (asked, len(tasks)) == (1, 1)
        deployment.simulator.set_faults(poll_hang=1.0)
        await deployment.run_sql(CHECK_NOW)

        async def is_claimed() -> bool:
            return bool(
                await deployment.run_sql("SELECT FROM late_tasks WHERE next_check_at > now()")
            )

        await eventually(is_claimed, "the check is in progress")
        await doomed.kill()
    deployment.simulator.set_faults(poll_hang=0.0)
    rows = await deployment.run_sql("SELECT outcome, checks FROM late_tasks")
    assert rows == [{"outcome": None, "checks": 0}]
    async with deployment.worker(), deployment.worker():
        await images_came(deployment, job, check_now=True)
        await asyncio.gather(*(deployment.run_sql(CHECK_NOW) for _ in range(3)))
    events = await deployment.run_sql("SELECT event FROM job_events WHERE event = 'delivered_late'")
    assert len(events) == 1
    await deployment.check_account(balance=10_000)
    await deployment.check_invariants_hold()
