"""Webhooks of a whole deployment: every end is sent, whichever process dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from standardwebhooks import Webhook

from producer import InvalidRequest, Job, Producer
from shared.adapters.servers import Servers
from shared.job_json import job_to_json
from tests.fakes.fake_webhook_receiver import (
    FakeWebhookReceiver,
    ReceivedWebhook,
    never_answer,
    receiving,
)
from tests.support.deployment import Deployment, eventually, text_to_image


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    """A producer under the development setting, as the workers here are."""
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as producer:
        yield producer


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


async def wait_until_sent(
    deployment: Deployment, receiver: FakeWebhookReceiver, jobs: list[Job]
) -> None:
    """Wait until every end is sent and recorded. Fails unless each is one verified message."""

    async def is_recorded() -> bool:
        rows = await deployment.run_sql(
            "SELECT job_id FROM webhook_messages WHERE state <> 'pending'"
        )
        return {row["job_id"] for row in rows} == {job.id for job in jobs}

    await eventually(is_recorded, "every end is told")
    assert {one.job_id for one in receiver.requests} == {job.id for job in jobs}
    ids = {(one.job_id, one.headers["webhook-id"]) for one in receiver.requests}
    assert len(ids) == len(jobs), "one event id for each transition"
    for one in receiver.requests:
        endpoint = await deployment.producer.webhooks.secret("acme", receiver.url + one.path)
        assert Webhook(endpoint["secret"]).verify(one.body, one.headers) == one.object


async def test_success_failure_and_cancellation_are_reported(
    deployment: Deployment, receiver: FakeWebhookReceiver
) -> None:
    url = f"{receiver.url}/hook"
    cancelled = await deployment.enqueue(webhook_url=url)
    await deployment.producer.cancel(cancelled.id)
    async with deployment.worker(webhooks_allow_loopback=True):
        good = await deployment.enqueue(webhook_url=url, metadata={"order": 7})
        bad = await deployment.enqueue(text_to_image("[[sim: fail=1]]"), webhook_url=url)
        ended = [await deployment.ended(job) for job in (good, bad)]
        await wait_until_sent(deployment, receiver, [cancelled, good, bad])
    by_job = {one.job_id: one.object for one in receiver.requests}
    assert [by_job[job.id]["type"] for job in (good, bad, cancelled)] == [
        *("job.succeeded", "job.failed", "job.cancelled"),
    ]
    for job in ended:
        assert by_job[job.id]["data"] == job_to_json(job)
    assert by_job[good.id]["data"]["metadata"] == {"order": 7}
    await deployment.check_invariants_hold()


async def test_a_job_that_is_not_to_be_told_of_is_not(
    deployment: Deployment, receiver: FakeWebhookReceiver
) -> None:
    async with deployment.worker(webhooks_allow_loopback=True):
        quiet = await deployment.ended(await deployment.enqueue())
        job = await deployment.enqueue(webhook_url=receiver.url)
        await wait_until_sent(deployment, receiver, [job])
    assert quiet.id not in {one.job_id for one in receiver.requests}


async def test_a_worker_killed_while_it_sends_leaves_the_message_to_another(
    deployment: Deployment, receiver: FakeWebhookReceiver
) -> None:
    receiver.answering = never_answer
    async with deployment.worker_process(WEBHOOKS_ALLOW_LOOPBACK="true") as doomed:
        job = await deployment.enqueue(webhook_url=receiver.url)
        await receiver.has(1)
        await doomed.kill()
    receiver.answering = None
    async with deployment.worker(webhooks_allow_loopback=True):
        await wait_until_sent(deployment, receiver, [job])
    assert len(receiver.requests) == 2
    await deployment.check_invariants_hold()


async def test_a_stopping_worker_does_not_wait_for_a_receiver_that_hangs(
    deployment: Deployment, receiver: FakeWebhookReceiver
) -> None:
    receiver.answering = never_answer
    async with deployment.worker_process(WEBHOOKS_ALLOW_LOOPBACK="true") as process:
        job = await deployment.enqueue(webhook_url=receiver.url)
        await receiver.has(1)
        assert await process.stop(timeout_seconds=15) == 0
    receiver.answering = None
    async with deployment.worker(webhooks_allow_loopback=True):
        await wait_until_sent(deployment, receiver, [job])


async def test_two_workers_report_each_end_and_a_flush_loses_none(
    deployment: Deployment, receiver: FakeWebhookReceiver
) -> None:
    async def stumble(received: ReceivedWebhook) -> int:
        seen = [one for one in receiver.requests if one.job_id == received.job_id]
        return 503 if len(seen) == 1 and received.job_id.int % 3 == 0 else 200

    receiver.answering = stumble
    async with (
        deployment.worker(webhooks_allow_loopback=True) as resources,
        deployment.worker(webhooks_allow_loopback=True),
    ):
        jobs = [await deployment.enqueue(webhook_url=f"{receiver.url}/hook") for _ in range(30)]
        await receiver.has(5)
        await resources.deps.delivery_queue.redis.flushall()
        await asyncio.gather(*(deployment.ended(job) for job in jobs))
        await wait_until_sent(deployment, receiver, jobs)
    await deployment.check_invariants_hold()


async def test_without_the_development_setting_this_machine_is_not_sent_to(
    deployment: Deployment, receiver: FakeWebhookReceiver, servers: Servers
) -> None:
    async with Producer.connect_to(servers) as strict:
        with pytest.raises(InvalidRequest, match=r"webhook_url: points at 127\.0\.0\.1"):
            await strict.enqueue(text_to_image(), account_id="acme", webhook_url=receiver.url)
    async with deployment.worker():
        # Stored under the setting, sent without it.
        await deployment.ended(await deployment.enqueue(webhook_url=receiver.url))

        async def is_refused() -> bool:
            rows = await deployment.run_sql("SELECT tries, last_error FROM webhook_messages")
            return bool(rows and rows[0]["tries"])

        await eventually(is_refused, "the try is on record")
    (row,) = await deployment.run_sql("SELECT state, last_error FROM webhook_messages")
    assert row["state"] == "pending"
    assert row["last_error"].startswith("not sent: the URL points at 127.0.0.1")
    assert receiver.requests == []
