"""What clients rely on about files, streams, webhooks, prices and statements, on every system."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from darkroom_client import (
    AsyncDarkroom,
    WebhookNotGenuine,
    models,
    problems,
    verify_webhook,
)

from tests.contract.clients.systems import System
from tests.fakes.fake_webhook_receiver import receiving
from tests.support.deployment import eventually
from tests.support.example_images import encoded_image

PRICED: dict[str, list[tuple[Any, ...]]] = {}
"""The prices of each system that has been asked. The second is compared with the first."""


async def test_a_local_file_is_uploaded_and_named_in_the_job(
    darkroom: AsyncDarkroom, tmp_path: Path
) -> None:
    cat = tmp_path / "cat.png"
    cat.write_bytes(encoded_image("PNG"))
    job = await darkroom.enqueue(image_urls=[cat], mask_url=cat, aspect_ratio="1:1")
    file = await darkroom.upload(cat)
    assert (file.content_type, file.width, file.height) == ("image/png", 37, 23)
    assert (job.task, job.request["image_urls"]) == ("image-to-image", [file.url])
    assert job.request["mask_url"] == file.url
    assert await darkroom.file(file.id) == file
    jpeg = await darkroom.upload(encoded_image("JPEG"))
    webp = await darkroom.upload(encoded_image("WEBP", lossless=True))
    assert [(one.content_type, one.width, one.height) for one in (jpeg, webp)] == [
        ("image/jpeg", 37, 23),
        ("image/webp", 37, 23),
    ]
    with pytest.raises(problems.InvalidRequest) as refused:
        await darkroom.upload(b"hello")
    assert refused.value.fields == {
        "file": "is only 5 bytes long; allowed: a PNG, a JPEG or a WebP"
    }


async def test_an_account_is_followed_and_resumed(darkroom: AsyncDarkroom) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    jobs = [
        await darkroom.enqueue(prompt="a cat", aspect_ratio="1:1", run_at=tomorrow)
        for _ in range(2)
    ]
    events = darkroom.account_events(last_event_id="0.0")
    first = await anext(events)
    second = await anext(events)
    await jobs[0].cancel()
    async with asyncio.timeout(20):
        third = await anext(events)
    assert [(one.job_id, one.event) for one in (first, second, third)] == [
        (jobs[0].id, "enqueued"),
        (jobs[1].id, "enqueued"),
        (jobs[0].id, "cancelled"),
    ]
    resumed = darkroom.account_events(last_event_id=second.last_event_id)
    async with asyncio.timeout(20):
        while (event := await anext(resumed)).id <= second.id:  # a resume may repeat
            pass
    assert event.id == third.id


async def test_the_end_of_a_job_is_told_by_a_signed_webhook(
    system: System, darkroom: AsyncDarkroom
) -> None:
    async with receiving() as receiver:
        hook = f"{receiver.url}/hook"
        secret = await system.webhook_secret(hook)
        job = await darkroom.enqueue(
            prompt="a cat", aspect_ratio="1:1", webhook_url=f"{hook}?order=1042"
        )
        ended = await job.wait()

        async def is_told() -> bool:
            return bool(receiver.requests)

        await eventually(is_told, "the end is told")
    [told] = receiver.requests
    message = verify_webhook(secret, told.headers, told.body)
    assert (message.type, message.timestamp) == ("job.succeeded", ended.finished_at)
    assert isinstance(message.data, models.JobFields)
    assert (message.data.id, message.data.result_urls) == (job.id, ended.result_urls)
    assert message.id == told.headers["webhook-id"]
    with pytest.raises(WebhookNotGenuine):
        verify_webhook(secret, told.headers, told.body + b" ")


async def test_a_service_sees_its_webhooks_and_verifies_them_with_the_secret_of_the_account(
    darkroom: AsyncDarkroom,
) -> None:
    with pytest.raises(problems.NotFound):
        await darkroom.webhook_secret()
    first = await darkroom.webhook_secret(create=True)
    assert await darkroom.webhook_secret() == first
    async with receiving() as receiver:
        job = await darkroom.enqueue(
            prompt="a cat", aspect_ratio="1:1", webhook_url=f"{receiver.url}/hook/1042?a=1"
        )
        await job.wait()

        async def is_noted() -> bool:
            return [one.state async for one in darkroom.webhooks(job_id=job.id)] == ["delivered"]

        await eventually(is_noted, "the end is told")
        [told] = [one async for one in darkroom.webhooks(state="delivered")]
        assert told.endpoint == f"{receiver.url}/hook/1042"
        shown = await darkroom.webhook(told.id)
        assert [(one.status, one.error) for one in shown.history] == [(204, None)]
        second = await darkroom.rotate_webhook_secret()
        await darkroom.replay_webhook(told.id)

        async def is_told_again() -> bool:
            return len(receiver.requests) == 2

        await eventually(is_told_again, "it is told again")
    for request, secrets in zip(receiver.requests, ([first], [first, second]), strict=True):
        for one in secrets:
            assert verify_webhook(one.secret, request.headers, request.body).id == told.id
    own = await darkroom.webhook_secret(told.endpoint)
    assert (own.url, own.secret != second.secret) == (told.endpoint, True)
    assert (await darkroom.revoke_webhook_secret()).account_id == "acme"
    with pytest.raises(problems.NotFound):
        await darkroom.webhook_secret()


async def test_prices_are_those_of_a_new_darkroom(system: System, darkroom: AsyncDarkroom) -> None:
    prices = [
        (one.model, one.task, one.quantity, one.variant, one.credits, one.provider_credits)
        for one in await darkroom.prices()
    ]
    assert ("gpt-4o-image", "text-to-image", 2, "", 7, 7) in prices
    PRICED[type(system).__name__] = prices
    for other in PRICED.values():
        assert prices == other


async def test_a_statement_has_what_changed_the_balance(darkroom: AsyncDarkroom) -> None:
    await (await darkroom.enqueue(prompt="a cat", aspect_ratio="1:1")).wait()
    failed = await darkroom.enqueue(
        prompt="a cat", aspect_ratio="1:1", run_at=datetime.now(UTC) + timedelta(days=1)
    )
    await failed.cancel()
    statement = await darkroom.statement()
    assert (statement.opening_balance, statement.closing_balance) == (0, 9_994)
    assert (statement.totals.grant, statement.totals.capture) == (10_000, -6)
    assert [(one.kind, one.credits, one.model) for one in statement.entries] == [
        ("grant", 10_000, None),
        ("capture", -6, "gpt-4o-image"),
    ]
    assert [(one.month, one.lines) for one in statement.months] == [
        (f"{datetime.now(UTC):%Y-%m}", 2)
    ]
    lines = (await darkroom.statement_csv()).splitlines()
    head = "id,time,kind,job_id,model,task,quantity,credits,balance_after,reason,variant"
    assert lines[0] == head
    assert [line.split(",")[2] for line in lines[1:]] == ["grant", "capture"]
