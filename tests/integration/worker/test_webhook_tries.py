"""Each try of a webhook is stored, and signed with the secret of the account as well."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis
from standardwebhooks import Webhook, WebhookVerificationError

from producer import Producer
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, ReceivedWebhook, receiving
from tests.integration.worker.test_webhooks import ended, message_of, secret_of, try_once
from tests.integration.worker.worker_setup import WorkerSetup, open_worker_setup
from worker.webhooks.http_sender import WebhookSender


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def setup(
    servers: Servers, database: Database, redis: ArqRedis, settings: Settings
) -> AsyncIterator[WorkerSetup]:
    """A worker whose producer and sender may reach this machine."""
    async with (
        Producer.connect_to(servers, webhooks_allow_loopback=True) as producer,
        WebhookSender(allow_loopback=True, timeout_seconds=2) as sender,
        open_worker_setup(settings, producer, database, redis) as setup,
    ):
        yield setup.with_deps(webhook_sender=sender)


async def test_the_secret_of_the_account_verifies_every_url_beside_that_of_the_endpoint(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    secrets = setup.producer.webhooks.account_secrets
    first = (await secrets.create("acme"))["secret"]
    for order in (1, 2):
        assert await try_once(setup, await ended(setup, f"{receiver.url}/hook/{order}")) is None
    second = (await secrets.rotate("acme"))["secret"]
    await try_once(setup, await ended(setup, f"{receiver.url}/hook/3"))
    await setup.sql(
        "UPDATE webhook_account_secrets SET previous_secret_until = now() - interval '1 s'"
    )
    await try_once(setup, await ended(setup, f"{receiver.url}/hook/4"))
    await secrets.revoke("acme")
    await try_once(setup, await ended(setup, f"{receiver.url}/hook/5"))
    verified = [
        {
            name
            for name, secret in (("first", first), ("second", second), ("endpoint", own))
            if is_genuine(secret, one)
        }
        for one in receiver.requests
        for own in [await secret_of(setup, receiver.url + one.path)]
    ]
    assert verified == [
        *[{"first", "endpoint"}] * 2,
        {"first", "second", "endpoint"},
        {"second", "endpoint"},
        {"endpoint"},
    ]


def is_genuine(secret: str, received: ReceivedWebhook) -> bool:
    """Return whether a receiver with this secret takes the message."""
    try:
        Webhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True


async def test_every_try_is_kept_with_its_result(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    receiver.answer_in_turn(500, 204)
    job = await ended(setup, receiver.url)
    await try_once(setup, job)
    message = await message_of(setup, job)
    await setup.sql("UPDATE webhook_messages SET next_try_at = now()")
    await try_once(setup, job)
    await setup.producer.webhooks.replay(message["id"])
    shown = await setup.producer.webhooks.get(message["id"])
    assert (shown["tries"], shown["state"]) == (0, "pending")
    assert [(one["status"], one["error"]) for one in shown["history"]] == [
        (204, None),
        (500, "answered 500"),
    ]
    assert all(0 <= one["seconds"] < 2 for one in shown["history"])
    # A result that is recorded twice, as by a worker that was slow, leaves no second try.
    await setup.sql("UPDATE webhook_messages SET state = 'delivered', delivered_at = now()")
    for query, args in (
        ("record_webhook_delivered", (204, 0.1)),
        ("record_webhook_failed", (0, 500, "answered 500", None, 0.1)),
    ):
        assert await setup.database.fetch_row(query, message["id"], *args) is None
    assert len((await setup.producer.webhooks.get(message["id"]))["history"]) == 2
