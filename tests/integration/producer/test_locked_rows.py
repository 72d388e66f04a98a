"""The error about a row that another session has locked names the row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import asyncpg
import pytest

from producer import Producer, RowBusy
from producer.orders.order import Order
from shared.domain.job import Job
from tests.support.deployment import Deployment, text_to_image

_Call = Callable[[Producer, Job], Awaitable[object]]

_ACCOUNT = "SELECT FROM accounts WHERE id = 'acme' FOR UPDATE"
_JOBS = "SELECT FROM jobs FOR UPDATE"
_PRICES = "SELECT FROM pricing FOR UPDATE"
_ENDPOINTS = "SELECT FROM webhook_endpoints FOR UPDATE"


async def enqueue(producer: Producer, _: Job) -> object:
    """Enqueue one job of the locked account."""
    return await producer.enqueue(text_to_image(), account_id="acme")


async def enqueue_two(producer: Producer, _: Job) -> object:
    """Enqueue jobs of two accounts, of which one is locked."""
    orders = [Order(request=text_to_image(), account_id=name) for name in ("other", "acme")]
    return await producer.enqueue_many(orders)


async def cancel(producer: Producer, job: Job) -> object:
    """Cancel the queued job."""
    return await producer.cancel(job.id)


async def grant(producer: Producer, _: Job) -> object:
    """Give the locked account credits."""
    return await producer.billing.grant("acme", Decimal(1), "a gift")


async def set_price(producer: Producer, _: Job) -> object:
    """Change a price."""
    key = ("gpt-4o-image", "text-to-image", 1)
    return await producer.billing.set_price(key, Decimal(7), reason="a test", actor="tester")


async def rotate(producer: Producer, _: Job) -> object:
    """Rotate the secret of a webhook endpoint."""
    return await producer.webhooks.rotate("acme", "https://hooks.example/")


@pytest.mark.parametrize(
    ("lock", "call", "named"),
    [
        (_ACCOUNT, enqueue, "account 'acme'"),
        (_ACCOUNT, enqueue_two, "one of the accounts 'acme', 'other'"),
        (_ACCOUNT, cancel, "job {id} or its account 'acme'"),
        (_JOBS, cancel, "job {id} or its account 'acme'"),
        (_ACCOUNT, grant, "account 'acme'"),
        (_PRICES, set_price, "price gpt-4o-image/text-to-image/1"),
        (_ENDPOINTS, rotate, "a webhook endpoint of account 'acme'"),
    ],
)
async def test_a_locked_row_is_named_and_nothing_is_stored(
    deployment: Deployment, database_url: str, lock: str, call: _Call, named: str
) -> None:
    await deployment.open_account("other", 100)
    job = await deployment.enqueue(webhook_url="https://hooks.example/")
    before = await deployment.run_sql("SELECT * FROM jobs ORDER BY id")
    session = await asyncpg.connect(database_url)
    try:
        async with session.transaction():
            await session.execute(lock)
            with pytest.raises(RowBusy) as caught:
                await call(deployment.producer, job)
    finally:
        await session.close()
    named = named.format(id=job.id)
    assert str(caught.value) == f"{named} is locked by another session; nothing was stored"
    assert caught.value.sqlstate == "55P03"
    assert await deployment.run_sql("SELECT * FROM jobs ORDER BY id") == before
    await call(deployment.producer, job)


async def test_over_http_the_answer_names_the_row_and_says_when_to_try_again(
    deployment: Deployment, database_url: str
) -> None:
    job = await deployment.enqueue()
    session = await asyncpg.connect(database_url)
    try:
        async with session.transaction(), deployment.api() as client:
            await session.execute(_ACCOUNT)
            answer = await client.post(f"/v1/jobs/{job.id}/cancel")
    finally:
        await session.close()
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.body["type"] == "urn:darkroom:problem:row_busy"
    assert f"job {job.id} or its account 'acme' is locked" in answer.body["detail"]
