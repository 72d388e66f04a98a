"""Webhooks from the end of a job to its receiver: once per transition, at least once, signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from arq.connections import ArqRedis
from standardwebhooks import Webhook

from producer import Job, Order, Producer
from producer.doctor import check_invariants
from shared.adapters.monitoring.gauges import QueueGauges
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import Lane
from shared.adapters.servers import Servers
from shared.domain import job_events
from shared.errors import StaleJob
from shared.job_json import job_to_json
from shared.settings import Settings
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, ReceivedWebhook, receiving
from tests.integration.worker.bare_lanes import running
from tests.integration.worker.worker_setup import WorkerSetup, open_worker_setup
from tests.support.deployment import eventually, text_to_image
from tests.support.example_jobs import polled
from worker.queue.lanes import build_webhook_lane
from worker.recovery.reconciler import Reconciler
from worker.webhooks.http_sender import WebhookSender
from worker.webhooks.outbox import Outbox
from worker.webhooks.send_step import send_webhook

DAY_SECONDS = 24 * 3600


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def setup(
    servers: Servers, database: Database, redis: ArqRedis, settings: Settings
) -> AsyncIterator[WorkerSetup]:
    """WorkerSetup whose producer and sender are allowed to reach this machine."""
    settings = settings.model_copy(update={"webhooks_allow_loopback": True})
    async with (
        Producer.connect_to(servers, webhooks_allow_loopback=True) as producer,
        WebhookSender(allow_loopback=True, timeout_seconds=2) as sender,
        open_worker_setup(settings, producer, database, redis) as setup,
    ):
        yield setup.with_deps(webhook_sender=sender)


async def ended(setup: WorkerSetup, url: str, how: str = "succeeded", **options: Any) -> Job:
    """Return a job of that webhook URL which has just ended."""
    job = await setup.enqueue(webhook_url=url, **options)
    if how == "cancelled":
        return await setup.producer.cancel(job.id)
    store = setup.deps.store
    job = await store.claim(job, job_events.Claimed(f"token-of-{job.id}", "test:1", "default"))
    job = await store.record_submitted(job, job_events.Submitted(f"t-{job.id}", 1800))
    if how == "failed":
        return await store.fail(polled(job), job_events.ProviderFailed("content_policy", "no"))
    await store.settle(polled(job), job_events.Completed(("https://example.com/1.png",)), "current")
    return await store.load(job.id)


async def message_of(setup: WorkerSetup, job: Job) -> dict[str, Any]:
    """Return the one message of a job."""
    (row,) = await setup.sql("SELECT * FROM webhook_messages WHERE job_id = $1", job.id)
    return row


async def try_once(setup: WorkerSetup, job: Job) -> float | None:
    """Run the webhook step of a job's message once."""
    return await send_webhook(setup.deps, UUID(str((await message_of(setup, job))["id"])))


async def secret_of(setup: WorkerSetup, url: str) -> str:
    return str((await setup.producer.webhooks.secret("acme", url))["secret"])


@asynccontextmanager
async def lane_running(setup: WorkerSetup) -> AsyncIterator[None]:
    """Run the webhook lane, with deliveries from the outbox as the reconciler makes them."""
    lane, reconciler = build_webhook_lane(setup.deps), Reconciler(setup.deps)
    await setup.sql("UPDATE webhook_messages SET created_at = created_at - interval '5 seconds'")
    await reconciler.outbox.check_all()
    async with running(lane):
        yield


# --- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled"])
async def test_each_end_writes_one_message_with_the_event_of_that_end(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, how: str
) -> None:
    job = await ended(setup, f"{receiver.url}/hook?order=7", how)
    message = await message_of(setup, job)
    assert (message["event"], message["state"], message["tries"]) == (f"job.{how}", "pending", 0)
    assert message["url"] == f"{receiver.url}/hook?order=7"
    assert message["created_at"] == job.finished_at


async def test_a_change_announced_twice_is_one_message(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await ended(setup, receiver.url)
    with pytest.raises(StaleJob):
        await setup.deps.store.settle(
            polled(job), job_events.Completed(("https://example.com/2.png",)), "current"
        )
    with pytest.raises(StaleJob):
        await setup.deps.store.fail(polled(job), job_events.ProviderFailed("provider_failed", "no"))
    await message_of(setup, job)


async def test_a_rolled_back_end_leaves_no_message(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await setup.enqueue(webhook_url=receiver.url)
    async with setup.database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE id = $1", job.id
        )
        rows = await connection.fetch("SELECT event FROM webhook_messages")
        assert [row["event"] for row in rows] == ["job.cancelled"]
        await transaction.rollback()
    assert await setup.sql("SELECT * FROM webhook_messages") == []


async def test_a_job_without_a_webhook_leaves_nothing(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await setup.producer.cancel(job.id)
    for table in ("webhook_messages", "webhook_endpoints"):
        assert await setup.sql(f"SELECT * FROM {table}") == []


async def test_jobs_that_differ_in_the_query_share_an_endpoint_and_accounts_do_not(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    await setup.producer.billing.create_account("other")
    await setup.producer.billing.grant("other", Decimal(100), "for the test")
    for query in ("", "?order=1", "?order=2#part"):
        await setup.enqueue(
            webhook_url=f"{receiver.url.upper()}/Hook{query}".replace("HTTP", "http")
        )
    await setup.producer.enqueue(
        text_to_image(), account_id="other", webhook_url=f"{receiver.url}/Hook"
    )
    rows = await setup.sql("SELECT account_id, url, secret FROM webhook_endpoints ORDER BY 1")
    assert [(row["account_id"], row["url"]) for row in rows] == [
        ("acme", f"{receiver.url}/Hook"),
        ("other", f"{receiver.url}/Hook"),
    ]
    assert len({row["secret"] for row in rows}) == 2


async def test_two_batches_that_name_the_same_endpoints_do_not_wait_for_each_other_for_ever(
    setup: WorkerSetup,
) -> None:
    await setup.producer.billing.grant("acme", Decimal(10_000), "for the test")
    urls = [f"https://shop.example/{number}" for number in range(50)]
    request = text_to_image()
    batches = [
        [Order(request=request, account_id="acme", webhook_url=url) for url in order]
        for order in (urls, urls[::-1]) * 4
    ]
    await asyncio.gather(*(setup.producer.enqueue_many(batch) for batch in batches))
    (row,) = await setup.sql("SELECT count(*) AS n FROM webhook_endpoints")
    assert row["n"] == 50


# --- what is sent ------------------------------------------------------------------------------


async def test_the_receiver_gets_the_job_signed_as_the_standard_says(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await ended(setup, f"{receiver.url}/hook?order=7%2F8", metadata={"order": 7})
    assert await try_once(setup, job) is None
    (received,) = receiver.requests
    assert (received.method, received.path, received.query) == ("POST", "/hook", "order=7%2F8")
    message = await message_of(setup, job)
    assert received.headers["webhook-id"] == f"msg_{UUID(str(message['id'])).hex}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("Darkroom/")
    secret = await secret_of(setup, f"{receiver.url}/hook")
    assert Webhook(secret).verify(received.body, received.headers) == {
        "type": "job.succeeded",
        "timestamp": message["created_at"].isoformat().replace("+00:00", "Z"),
        "data": job_to_json(job),
    }
    assert (message["state"], message["tries"], message["last_status"]) == ("delivered", 1, 204)
    assert message["delivered_at"] is not None


async def test_every_try_has_the_same_id_and_body_and_a_timestamp_of_its_own(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    receiver.answer_in_turn(500, 503)
    job = await ended(setup, receiver.url)
    for _ in range(3):
        await try_once(setup, job)
        setup.clock.advance(200)
    assert len(receiver.requests) == 3
    assert len({one.headers["webhook-id"] for one in receiver.requests}) == 1
    assert len({one.body for one in receiver.requests}) == 1
    assert len({one.headers["webhook-timestamp"] for one in receiver.requests}) == 3
    assert (await message_of(setup, job))["state"] == "delivered"


async def test_while_a_rotation_lasts_old_and_new_secret_verify_and_afterwards_the_new_alone(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    url = f"{receiver.url}/hook"
    first = await ended(setup, url)
    old = await secret_of(setup, url)
    new = str((await setup.producer.webhooks.rotate("acme", url))["secret"])
    assert new != old
    await try_once(setup, first)
    second = await ended(setup, url)
    await setup.sql("UPDATE webhook_endpoints SET previous_secret_until = now()")
    await try_once(setup, second)
    both, single = receiver.requests
    for secret in (old, new):
        assert Webhook(secret).verify(both.body, both.headers)
    assert Webhook(new).verify(single.body, single.headers)
    assert " " not in single.headers["webhook-signature"]


async def test_a_worker_stopped_between_the_sending_and_the_recording_sends_again(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    arrived, blocked = asyncio.Event(), asyncio.Event()

    async def hang_once(_: ReceivedWebhook) -> int:
        if not arrived.is_set():
            arrived.set()
            await blocked.wait()
        return 200

    receiver.answering = hang_once
    job = await ended(setup, receiver.url)
    doomed = asyncio.create_task(try_once(setup, job))
    await arrived.wait()
    doomed.cancel()
    await asyncio.gather(doomed, return_exceptions=True)
    assert (await message_of(setup, job))["state"] == "pending"
    async with lane_running(setup):
        await receiver.has(2)
        await _reaches(setup, job, "delivered")
    assert len({one.headers["webhook-id"] for one in receiver.requests}) == 1


async def test_two_workers_at_once_record_one_delivery(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await ended(setup, receiver.url)
    await asyncio.gather(try_once(setup, job), try_once(setup, job))
    assert (await message_of(setup, job))["tries"] == 1
    assert len({one.headers["webhook-id"] for one in receiver.requests}) == 1
    assert setup.registry.get_sample_value("darkroom_webhooks_total", {"outcome": "delivered"}) == 1


# --- what is not taken --------------------------------------------------------------------------


async def test_a_failure_is_recorded_and_tried_again_later(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    receiver.answer_in_turn(500)
    job = await ended(setup, receiver.url)
    delay_seconds = await try_once(setup, job)
    assert delay_seconds is not None
    assert 5 <= delay_seconds <= 6
    message = await message_of(setup, job)
    assert (message["state"], message["tries"], message["last_status"]) == ("pending", 1, 500)
    assert message["last_error"] == "answered 500"
    again = await try_once(setup, job)
    assert again is not None
    assert again <= delay_seconds
    assert len(receiver.requests) == 1, "not before it is due"
    assert setup.registry.get_sample_value("darkroom_webhooks_total", {"outcome": "failed"}) == 1


async def test_a_receiver_may_ask_for_more_time(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    async def busy(_: ReceivedWebhook) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "600"})

    receiver.answering = busy
    delay_seconds = await try_once(setup, await ended(setup, receiver.url))
    assert delay_seconds == pytest.approx(600, abs=1)


async def test_a_message_that_no_receiver_accepts_is_dead_after_a_day(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    receiver.answer_in_turn(*[500] * 50)
    job = await ended(setup, receiver.url)
    waited_seconds = 0.0
    while (delay_seconds := await try_once(setup, job)) is not None:
        waited_seconds += delay_seconds
        setup.clock.advance(delay_seconds)
    assert waited_seconds == pytest.approx(DAY_SECONDS, abs=30)
    message = await message_of(setup, job)
    assert (message["state"], message["last_error"]) == ("dead", "answered 500")
    assert 11 <= message["tries"] == len(receiver.requests) <= 12
    assert await send_webhook(setup.deps, UUID(str(message["id"]))) is None
    assert len(receiver.requests) == message["tries"]


async def test_a_message_that_was_never_tried_for_days_is_still_tried(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await ended(setup, receiver.url)
    setup.clock.advance(3 * DAY_SECONDS)
    assert await try_once(setup, job) is None
    assert (await message_of(setup, job))["state"] == "delivered"


async def test_gone_means_dead_at_once(setup: WorkerSetup, receiver: FakeWebhookReceiver) -> None:
    receiver.answer_in_turn(410)
    job = await ended(setup, receiver.url)
    assert await try_once(setup, job) is None
    assert (await message_of(setup, job))["state"] == "dead"
    assert setup.registry.get_sample_value("darkroom_webhooks_total", {"outcome": "dead"}) == 1


async def test_a_replay_while_it_is_being_sent_keeps_its_new_day(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    receiver.answer_in_turn(500)
    job = await ended(setup, receiver.url)
    await try_once(setup, job)
    setup.clock.advance(60)

    async def replay_meanwhile(_: ReceivedWebhook) -> int:
        await setup.producer.webhooks.replay((await message_of(setup, job))["id"])
        return 500

    receiver.answering = replay_meanwhile
    assert await try_once(setup, job) == 0, "it is looked at again at once"
    message = await message_of(setup, job)
    assert (message["state"], message["tries"]) == ("pending", 0)


# --- how it gets there --------------------------------------------------------------------------


async def test_a_wiped_redis_gets_every_due_message_again_and_no_later_one(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    jobs = [await ended(setup, receiver.url, "cancelled") for _ in range(7)]
    late = await ended(setup, receiver.url, "cancelled")
    await setup.sql(
        "UPDATE webhook_messages SET created_at = created_at - interval '5 seconds',"
        " next_try_at = CASE WHEN job_id = $1 THEN now() + interval '2 hours' ELSE next_try_at END",
        late.id,
    )
    await setup.redis.flushall()
    await Reconciler(setup.deps, page_length=3).run_once()
    wanted = {Lane.WEBHOOK.arq_id((await message_of(setup, job))["id"]) for job in jobs}
    found = {item.decode() for item in await setup.redis.zrange(Lane.WEBHOOK.value, 0, -1)}
    assert found == wanted


async def test_the_outbox_walks_through_all_pages_and_begins_again(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    for _ in range(7):
        await ended(setup, receiver.url, "cancelled")
    await setup.sql("UPDATE webhook_messages SET created_at = created_at - interval '5 seconds'")
    outbox = Outbox(setup.deps.queries, setup.deps.delivery_queue, page_length=3)
    counts = [
        (await outbox.check_page(), await setup.redis.zcard(Lane.WEBHOOK.value)) for _ in range(3)
    ]
    assert counts == [(False, 3), (False, 6), (True, 7)]
    await setup.redis.delete(Lane.WEBHOOK.value)
    await outbox.check_all()
    assert await setup.redis.zcard(Lane.WEBHOOK.value) == 7


async def test_only_messages_that_became_due_lately_are_searched_page_by_page(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    jobs = [await ended(setup, receiver.url, "cancelled") for _ in range(7)]
    old, tried = jobs[:2]
    await setup.sql(
        "UPDATE webhook_messages SET next_try_at = next_try_at - interval '1 minute'"
        " WHERE job_id = $1",
        old.id,
    )
    await setup.sql(
        "UPDATE webhook_messages SET tries = 1, next_try_at = next_try_at + interval '1 minute'"
        " WHERE job_id = $1",
        tried.id,
    )
    outbox = Outbox(setup.deps.queries, setup.deps.delivery_queue, page_length=3)
    await outbox.deliver_due_since(setup.deps.clock.now() - timedelta(seconds=30))
    wanted = {Lane.WEBHOOK.arq_id((await message_of(setup, job))["id"]) for job in jobs[2:]}
    found = {item.decode() for item in await setup.redis.zrange(Lane.WEBHOOK.value, 0, -1)}
    assert found == wanted


async def _reaches(setup: WorkerSetup, job: Job, state: str) -> None:
    async def is_there() -> bool:
        return bool((await message_of(setup, job))["state"] == state)

    await eventually(is_there, f"the message of {job.id} is {state}", 20)


# --- the books ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corruption", "said"),
    [
        ("DELETE FROM webhook_messages", "succeeded with 0 webhook message(s)"),
        (
            "UPDATE webhook_messages SET event = 'job.failed'",
            "succeeded with 1 webhook message(s) of job.failed",
        ),
        (
            (
                "INSERT INTO webhook_messages (job_id, account_id, endpoint_id, url, event)"
                " SELECT job_id, account_id, endpoint_id, url, 'job.failed' FROM webhook_messages"
            ),
            "succeeded with 2 webhook message(s)",
        ),
    ],
)
async def test_an_end_without_its_one_message_is_found_in_the_books(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, corruption: str, said: str
) -> None:
    name = "every end with a webhook has its message"
    job = await ended(setup, receiver.url)
    await setup.enqueue(webhook_url=receiver.url)
    assert [one async for one in check_invariants(setup.database) if not one.ok] == []
    await setup.sql(corruption)
    broken = {one.name: one.detail async for one in check_invariants(setup.database) if not one.ok}
    assert set(broken) == {name}
    assert f"{job.id}: {said}" in broken[name]


async def test_a_job_of_before_webhooks_were_sent_is_told_of_but_owes_no_message(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await setup.enqueue(webhook_url=receiver.url)
    old = await setup.enqueue(webhook_url=receiver.url)
    await setup.sql("UPDATE jobs SET created_at = created_at - interval '1 day'")
    await setup.sql("UPDATE accounts SET day_started_at = day_started_at - interval '1 day'")
    await setup.sql("DELETE FROM webhook_endpoints")
    await setup.producer.cancel(job.id)
    assert (await message_of(setup, job))["event"] == "job.cancelled"
    await setup.producer.cancel(old.id)
    await setup.sql("DELETE FROM webhook_messages WHERE job_id = $1", old.id)
    assert [one async for one in check_invariants(setup.database) if not one.ok] == []


async def test_the_gauge_shows_how_many_are_not_taken(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    jobs = [await ended(setup, receiver.url) for _ in range(3)]
    await try_once(setup, jobs[0])
    await QueueGauges(setup.registry, setup.database).refresh()
    assert setup.registry.get_sample_value("darkroom_webhooks_pending") == 2
