"""Late images: what the database allows, what the doctor finds, and what webhooks contain."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import pytest

from producer import Job
from producer.doctor import check_invariants
from shared.domain import job_events
from shared.domain.kie_outcomes import Accepted, Delivered
from shared.errors import DarkroomError
from tests.fakes.fake_webhook_receiver import receiving
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.example_jobs import polled
from worker.recovery.late_task_checks import LateTaskChecks
from worker.webhooks.http_sender import WebhookSender
from worker.webhooks.send_step import send_webhook

HOOK = "https://shop.example/hook"
URLS = ("https://images.example/1.png", "https://images.example/2.png")
IMAGES = "late images are on their job"
MESSAGES = "every end with a webhook has its message"


async def given_up(setup: WorkerSetup) -> Job:
    """Return a job with a webhook that reached its deadline."""
    job = await setup.enqueue(webhook_url=HOOK)
    setup.kie.submits.append(Accepted(f"task-of-{job.id}"))
    await setup.submit(job)
    await setup.sql("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = $1", job.id)
    late = job_events.DeadlineExceeded("not done in time")
    return await setup.deps.store.exceed_deadline(polled(await setup.now_is(job)), late)


async def deliver_late(setup: WorkerSetup) -> None:
    await setup.sql("UPDATE late_tasks SET next_check_at = now()")
    setup.kie.polls.append(Delivered(URLS))
    assert await LateTaskChecks(setup.deps).check_due() == 1


async def broken_invariants(setup: WorkerSetup) -> set[str]:
    return {one.name async for one in check_invariants(setup.database) if not one.ok}


@pytest.mark.parametrize(
    ("corruption", "found"),
    [
        ("UPDATE jobs SET late_result_urls = NULL", {IMAGES}),
        ("UPDATE jobs SET late_result_urls = late_result_urls || '{https://x.example}'", {IMAGES}),
        ("UPDATE late_tasks SET result_urls = '{https://x.example/other.png}'", {IMAGES}),
        ("DELETE FROM late_tasks", {IMAGES, MESSAGES}),
        ("DELETE FROM webhook_messages WHERE event = 'job.delivered_late'", {MESSAGES}),
        ("DELETE FROM webhook_messages WHERE event = 'job.failed'", {MESSAGES}),
        (
            (
                "INSERT INTO webhook_messages"
                " (job_id, account_id, endpoint_id, url, event, provider_task_id)"
                " SELECT job_id, account_id, endpoint_id, url, 'job.delivered_late', 'another'"
                "   FROM webhook_messages WHERE event = 'job.failed'"
            ),
            {MESSAGES},
        ),
    ],
)
async def test_late_images_that_do_not_agree_are_found(
    setup: WorkerSetup, corruption: str, found: set[str]
) -> None:
    await given_up(setup)
    await deliver_late(setup)
    assert await broken_invariants(setup) == set()
    async with setup.database.pool.acquire() as connection, connection.transaction():
        # Triggers are disabled, as by a bug inside them.
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(corruption)
    assert await broken_invariants(setup) == found


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET late_result_urls = NULL WHERE state = 'failed'",
        "UPDATE jobs SET late_result_urls = '{https://x.example}' WHERE state = 'failed'",
        "UPDATE jobs SET late_result_urls = '{https://x.example}' WHERE state = 'queued'",
        "UPDATE jobs SET result_urls = late_result_urls WHERE state = 'failed'",
        "UPDATE late_tasks SET outcome = NULL, result_urls = '{}', provider_credits = NULL",
        "UPDATE late_tasks SET result_urls = '{https://x.example}'",
        "DELETE FROM late_tasks",
        (
            "INSERT INTO webhook_messages (job_id, account_id, endpoint_id, url, event)"
            " SELECT job_id, account_id, endpoint_id, url, event FROM webhook_messages LIMIT 1"
        ),
    ],
)
async def test_stored_late_images_cannot_be_changed_by_plain_sql(
    setup: WorkerSetup, statement: str
) -> None:
    job = await given_up(setup)
    await deliver_late(setup)
    await setup.enqueue()
    before = await setup.now_is(job)
    with pytest.raises((asyncpg.PostgresError, DarkroomError)):
        await setup.sql(statement)
    assert await setup.now_is(job) == before
    assert await broken_invariants(setup) == set()


async def test_late_images_may_be_added_to_those_there_are(setup: WorkerSetup) -> None:
    job = await given_up(setup)
    await deliver_late(setup)
    await LateTaskChecks(setup.deps).record_claimed_task(
        job.id, 1, "a second task of the same POST"
    )
    await setup.sql("UPDATE late_tasks SET is_claimed = false WHERE outcome IS NULL")
    more = ("https://images.example/3.png",)
    setup.kie.polls.append(Delivered(more))
    assert await LateTaskChecks(setup.deps).check_due() == 1
    assert (await setup.now_is(job)).late_result_urls == URLS + more
    assert await broken_invariants(setup) == set()
    rows = await setup.sql("SELECT id FROM webhook_messages WHERE event = 'job.delivered_late'")
    assert len(rows) == 2, "each task is told by a message of its own"


async def test_each_message_has_the_same_body_at_every_try(setup: WorkerSetup) -> None:
    job = await given_up(setup)
    async with (
        receiving() as receiver,
        WebhookSender(allow_loopback=True, timeout_seconds=2) as sender,
    ):
        setup = setup.with_deps(webhook_sender=sender)
        await setup.sql("UPDATE webhook_messages SET url = $1", receiver.url)
        (end,) = await setup.sql("SELECT id FROM webhook_messages")
        receiver.answer_in_turn(500)
        await send_webhook(setup.deps, UUID(str(end["id"])))
        receiver.answering = None
        await deliver_late(setup)
        await setup.sql("UPDATE webhook_messages SET url = $1", receiver.url)
        await setup.sql("UPDATE webhook_messages SET next_try_at = created_at")
        rows = await setup.sql("SELECT id FROM webhook_messages ORDER BY created_at")
        for row in rows:
            await send_webhook(setup.deps, UUID(str(row["id"])))
    first, again, late = receiver.requests
    assert first.body == again.body
    assert (first.object["type"], first.object["data"]["late_result_urls"]) == ("job.failed", None)
    assert late.object["type"] == "job.delivered_late"
    assert late.object["data"]["late_result_urls"] == list(URLS)
    assert late.object["data"]["id"] == str(job.id)
