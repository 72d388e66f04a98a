"""The whole life of a job in a schema of its own, beside a Darkroom in `public`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr

from producer import JobState, Producer
from producer.doctor.privilege_findings import check_privileges
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.postgres.migrations import migrate
from shared.adapters.servers import Servers, open_servers
from shared.settings import Settings
from tests.acceptance.test_shared_redis import other_number
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, receiving
from tests.support.deployment import Deployment, text_to_image

SCHEMA = "Dark-Room x"


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as producer:
        yield producer


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhooks_allow_loopback": True})


@pytest.fixture
async def beside(deployment: Deployment) -> AsyncIterator[Deployment]:
    """A second Darkroom in the same database, which has another Redis."""
    settings = deployment.settings
    assert settings.database_url is not None
    assert settings.redis_url is not None
    await migrate(settings.database_url.get_secret_value(), schema=SCHEMA)
    redis_url = SecretStr(other_number(settings.redis_url.get_secret_value()))
    changed = settings.model_copy(update={"database_schema": SCHEMA, "redis_url": redis_url})
    async with (
        open_servers(changed) as servers,
        connect_database(servers.database_url) as database,
        Producer.connect_to(servers, webhooks_allow_loopback=True) as producer,
    ):
        beside = Deployment(changed, producer, database, deployment.simulator)
        await beside.open_account("acme", 100)
        yield beside


async def count_jobs(database: Database) -> int:
    count: int = await database.pool.fetchval("SELECT count(*) FROM jobs")
    return count


async def test_two_darkrooms_of_one_database_live_side_by_side(
    deployment: Deployment, beside: Deployment, receiver: FakeWebhookReceiver
) -> None:
    pair = (deployment, beside)
    async with deployment.worker() as worker, beside.worker() as worker_beside:
        assert worker.servers.database_url != worker_beside.servers.database_url
        for one, path in zip(pair, ("/public", "/own"), strict=True):
            job = await one.ended(
                await one.enqueue(text_to_image(path), webhook_url=f"{receiver.url}{path}")
            )
            assert job.state is JobState.SUCCEEDED
            await receiver.has(1, path)
            assert receiver.to(path)[0].job_id == job.id
            await one.producer.billing.refund(job.id, Decimal(2), reason="blurred")
            later = await one.enqueue(
                text_to_image(f"later {path}"), run_at=datetime.now(UTC) + timedelta(hours=1)
            )
            await one.producer.cancel(later.id)
            pause = await one.producer.pauses.pause("model", "gpt-4o-image", reason="to look")
            await one.producer.pauses.resume(pause.id)
            assert (await one.producer.retry(later.id)).retry_of == later.id
    assert [await count_jobs(one.database) for one in pair] == [3, 3]
    for one in pair:
        await one.check_invariants_hold()
        finding = await check_privileges(one.database)
        assert finding.ok, finding
    deployment.check_paid_once()
    assert len(receiver.requests) == 2
