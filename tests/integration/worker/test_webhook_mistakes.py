"""An exception of our own in a webhook counts as a try: it backs off and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from arq.connections import ArqRedis
from structlog.testing import capture_logs

from producer import Job, Producer
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from shared.settings import Settings
from shared.stored_json import MAX_JSON_DEPTH
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, receiving
from tests.integration.worker.test_webhooks import ended, message_of, try_once
from tests.integration.worker.worker_setup import WorkerSetup, open_worker_setup
from tests.unit.producer.test_nesting import JSON_KINDS
from worker.webhooks.http_sender import SendResult, WebhookSender
from worker.webhooks.retry_schedule import DELAYS_SECONDS

BROKEN = {
    "a moment that the driver cannot read": (
        "UPDATE jobs SET due_at = '20000-01-01' WHERE id = $1",
        "OverflowError",
    ),
    "a URL that cannot be parsed": (
        "UPDATE webhook_messages SET url = 'http://[::1' WHERE job_id = $1",
        "not sent",
    ),
    "a secret that is none": (
        (
            "UPDATE webhook_endpoints SET secret = 'whsec_a'"
            " WHERE url = (SELECT darkroom_webhook_endpoint(webhook_url) FROM jobs WHERE id = $1)"
        ),
        "not sent: a mistake of ours",
    ),
}


@dataclass
class BrokenSender:
    """A sender with a bug."""

    error: Exception
    times: int = 0

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> SendResult:
        """Raise, as a bug of ours would."""
        self.times += 1
        raise self.error


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def setup(
    servers: Servers, database: Database, redis: ArqRedis, settings: Settings
) -> AsyncIterator[WorkerSetup]:
    settings = settings.model_copy(update={"webhooks_allow_loopback": True})
    async with (
        Producer.connect_to(servers, webhooks_allow_loopback=True) as producer,
        WebhookSender(allow_loopback=True, timeout_seconds=2) as sender,
        open_worker_setup(settings, producer, database, redis) as setup,
    ):
        yield setup.with_deps(webhook_sender=sender)


async def try_until_dead(setup: WorkerSetup, job: Job) -> list[float]:
    """Run the step, let its delay pass, and so on for a day; return the delays."""
    delays: list[float] = []
    while (delay := await try_once(setup, job)) is not None:
        delays.append(delay)
        assert len(delays) < 50, "it never ends"
        await setup.sql(
            "UPDATE webhook_messages SET next_try_at = now() - interval '1 ms',"
            " retry_until = retry_until - make_interval(secs => $2) WHERE job_id = $1",
            job.id,
            delay,
        )
    return delays


@pytest.mark.parametrize(
    "error", [TypeError("not serializable"), RecursionError("too deep"), KeyError("state")]
)
async def test_a_bug_in_the_loop_backs_off_and_logs_one_traceback(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, error: Exception
) -> None:
    job = await ended(setup, receiver.url)
    sender: Any = BrokenSender(error)
    broken = setup.with_deps(webhook_sender=sender)
    with capture_logs() as lines:
        delays = await try_until_dead(broken, job)
    message = await message_of(setup, job)
    assert (message["state"], message["tries"]) == ("dead", sender.times)
    assert type(error).__name__ in message["last_error"]
    assert str(error) not in message["last_error"]
    for delay, planned in zip(delays, DELAYS_SECONDS, strict=False):
        assert planned <= delay <= planned * 1.2 or delay < 1
    assert delays[0] < delays[-2]
    assert sum(bool(line.get("exc_info")) for line in lines) == 1
    assert [line["event"] for line in lines].count("webhook_dead") == 1


@pytest.mark.parametrize(("statement", "said"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_row_that_cannot_be_sent_counts_its_tries_and_ends(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, statement: str, said: str
) -> None:
    job = await ended(setup, receiver.url)
    other = await ended(setup, f"{receiver.url}/other")
    await setup.sql("ALTER TABLE webhook_endpoints DROP CONSTRAINT a_secret_is_standard")
    await setup.sql(statement, job.id)
    first = await try_once(setup, job)
    assert first is not None
    assert DELAYS_SECONDS[0] <= first <= 1.2 * DELAYS_SECONDS[0]
    message = await message_of(setup, job)
    assert (message["state"], message["tries"]) == ("pending", 1)
    assert said in message["last_error"]
    assert len(await try_until_dead(setup, job)) > 5
    assert (await message_of(setup, job))["state"] == "dead"
    assert await try_once(setup, other) is None
    assert (await message_of(setup, other))["state"] == "delivered"


async def test_a_corrected_row_is_sent_at_the_next_try(
    setup: WorkerSetup, receiver: FakeWebhookReceiver
) -> None:
    job = await ended(setup, receiver.url)
    await setup.sql("UPDATE jobs SET due_at = '20000-01-01' WHERE id = $1", job.id)
    assert await try_once(setup, job)
    await setup.sql("UPDATE jobs SET due_at = now() WHERE id = $1", job.id)
    await setup.sql("UPDATE webhook_messages SET next_try_at = now() - interval '1 s'")
    assert await try_once(setup, job) is None
    assert (await message_of(setup, job))["state"] == "delivered"


@pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.__name__)
async def test_notes_as_deep_as_may_be_are_stored_listed_and_sent(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, kind: Any
) -> None:
    for depth in (MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH):
        job = await ended(setup, receiver.url, metadata=kind(depth))
        (shown,) = (await setup.producer.page(limit=1)).jobs
        assert shown.metadata == kind(depth)
        assert await try_once(setup, job) is None
        assert orjson.loads(receiver.requests[-1].body)["data"]["metadata"] == kind(depth)
