"""A quote says what a job would cost and how long it would wait, before anything is placed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from producer import AccountNotFound, Order
from producer.accounts.limit_errors import PriorityNotAllowed
from producer.keys.roles import Role
from shared.adapters.http.http_connection import LINE_BYTES_MAX
from tests.acceptance.test_http_access import key_of
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, text_to_image
from tests.support.example_images import encoded_image

REQUEST = {"task": "text-to-image", "prompt": "123", "aspect_ratio": "3:2", "quantity": "2"}


async def quote(api: ApiClient, status: int = 200, **fields: Any) -> dict[str, Any]:
    query = urlencode({**REQUEST, **fields}, doseq=True)
    found: dict[str, Any] = (await api.get(f"/v1/quote?{query}")).expect(status)
    return found


async def quote_body(api: ApiClient, body: Mapping[str, Any], status: int = 200) -> dict[str, Any]:
    found: dict[str, Any] = (await api.post("/v1/quote", dict(body))).expect(status)
    return found


async def test_a_quote_has_the_price_the_credits_and_the_wait(deployment: Deployment) -> None:
    orders = [Order(request=text_to_image(), account_id="acme")] * 12
    async with deployment.api() as api:
        placed = await deployment.producer.enqueue_many(orders)
        assert [job.position for job in placed] == [*range(1, 13)]
        listed = (await api.get("/v1/jobs?fields=position,wait_reason")).expect(200)["jobs"]
        assert [job["position"] for job in listed] == [*range(12, 0, -1)]
        assert {job["wait_reason"] for job in listed} == {"no_worker"}
        assert (await api.get("/v1/jobs?fields=id,state")).expect(200)["jobs"][0].keys() == {
            "id",
            "state",
        }
        last = await quote(api, account_id="acme")
        assert (last["credits"], last["position"], last["quantity"]) == (7, 13, 2)
        assert (last["wait_reason"], last["estimated_start_at"]) == ("no_worker", None)
        before = await deployment.producer.balance("acme")
        assert before.held == sum(job.credits_quoted for job in placed)


@pytest.mark.promise("refuses what an enqueue would refuse as invalid")
async def test_a_bad_order_gets_the_faults_of_an_enqueue(deployment: Deployment) -> None:
    async with deployment.api() as api:
        for fields in (
            {"account_id": "acme", "quantity": 3},
            {"account_id": "acme", "quantity": "two", "aspect_ratio": "9:1"},
            {"account_id": "acme", "colour": "red"},
            {"account_id": "acme", "model": "gpt-5"},
            {"account_id": "acme", "task": "image-to-image", "image_urls": ["no-url", "x"]},
            {"account_id": "acme", "priority": "urgent", "run_at": "tomorrow"},
            {"account_id": "nobody"},
            {},
        ):
            body: dict[str, Any] = {**REQUEST, "quantity": 2, **fields}
            refused = (await api.send("POST", "/v1/jobs", json=body)).expect(422)
            assert (await quote(api, 422, **fields))["errors"] == refused["errors"]


async def test_a_service_gets_quotes_of_its_account_and_of_its_priorities(
    deployment: Deployment,
) -> None:
    producer = deployment.producer
    await producer.billing.create_account("other")
    await producer.set_account_limits("acme", max_priority="normal")
    service = await key_of(deployment, Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        own = nobody.with_key(service)
        assert (await quote(own))["account_id"] == "acme"
        await quote(own, 403, account_id="other")
        await quote(own, 403, priority="high")
    with pytest.raises(PriorityNotAllowed):
        await producer.quote(
            text_to_image(), account_id="acme", priority="high", priority_limit="refuse"
        )
    with pytest.raises(AccountNotFound):
        await producer.quote(text_to_image(), account_id="nobody")
    only_price = await producer.quote(text_to_image())
    assert (only_price.account_id, only_price.position) == (None, None)


LONG = {
    "task": "image-to-image",
    "prompt": "x" * 20_000,
    "image_urls": [f"https://images.example/{number}?sig={'y' * 8_000}" for number in range(5)],
    "aspect_ratio": "1:1",
    "metadata": {"order": 1042},
    "webhook_url": "https://hooks.example/done",
}
"""What no request line carries."""


@pytest.mark.promise("Images that it contains as `data:` URLs are not decoded or uploaded")
async def test_a_body_gets_the_quote_of_a_query_and_places_nothing(deployment: Deployment) -> None:
    data = "data:image/png;base64," + base64.b64encode(encoded_image("PNG")).decode()
    async with deployment.api() as api:
        asked = await quote(api, account_id="acme")
        told = await quote_body(api, {**REQUEST, "quantity": 2, "account_id": "acme"})
        long = await quote_body(api, {**LONG, "account_id": "acme"})
        held = await quote_body(api, {**LONG, "account_id": "acme", "image_urls": [data]})
        (await api.post("/v1/quote?colour=red", {**REQUEST, "quantity": 2})).expect(422)
    assert told.keys() == asked.keys()
    times = ("estimated_start_at", "expected_wait_seconds")
    assert {k: v for k, v in told.items() if k not in times} == {
        k: v for k, v in asked.items() if k not in times
    }
    assert (long["task"], long["credits"]) == ("image-to-image", held["credits"])
    counts = "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM files) AS rows"
    [row] = await deployment.run_sql(counts)
    assert row["rows"] == 0
    assert (await deployment.producer.balance("acme")).held == 0


async def test_a_bad_body_gets_the_faults_of_an_enqueue(deployment: Deployment) -> None:
    bad = {**REQUEST, "quantity": 3, "metadata": [], "webhook_url": "https://10.0.0.1/", "n": 1}
    async with deployment.api() as api:
        for fields in (
            {**bad, "account_id": "acme", "idempotency_key": "k"},
            {**LONG, "account_id": "acme", "prompt": "x" * 20_001, "priority": "urgent"},
            {**LONG, "account_id": "nobody"},
            {**LONG},
            {},
        ):
            refused = (await api.post("/v1/jobs", fields)).expect(422)
            assert (await quote_body(api, fields, 422))["errors"] == refused["errors"]
        text = {"Content-Type": "text/plain"}
        assert (await api.send("POST", "/v1/quote", data=b"{}", headers=text)).status == 415


async def test_a_body_is_quoted_for_the_account_and_the_priorities_of_the_key(
    deployment: Deployment,
) -> None:
    await deployment.producer.billing.create_account("other")
    await deployment.producer.set_account_limits("acme", max_priority="normal")
    service = await key_of(deployment, Role.SERVICE, "acme")
    viewer = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as nobody:
        own = nobody.with_key(service)
        assert (await quote_body(own, LONG))["account_id"] == "acme"
        await quote_body(own, {**LONG, "account_id": "other"}, 403)
        await quote_body(own, {**LONG, "priority": "high"}, 403)
        await quote_body(nobody.with_key(viewer), {**LONG, "account_id": "acme"}, 403)
        await quote_body(nobody, LONG, 401)


async def test_with_a_worker_a_scheduled_job_would_start_when_it_is_due(
    deployment: Deployment,
) -> None:
    monday = datetime.now(UTC) + timedelta(days=3)
    async with deployment.worker():
        now = await deployment.producer.quote(text_to_image(), account_id="acme")
        then = await deployment.producer.quote(text_to_image(), account_id="acme", run_at=monday)
    assert now.expected_wait_seconds == 0
    assert (now.position, now.wait_reason) == (1, None)
    assert (then.position, then.estimated_start_at) == (None, monday)


@pytest.mark.promise("request line, and each header")
@pytest.mark.parametrize("characters", [8_000, 8_200, 40_000])
async def test_a_request_line_that_is_too_long_is_refused_with_its_limit(
    deployment: Deployment, characters: int
) -> None:
    async with deployment.api() as api:
        status = 200 if characters < LINE_BYTES_MAX else 400
        told = await quote(api, status, account_id="acme", prompt="x" * characters)
    if status == 400:
        assert told["detail"] == TOO_LONG


@pytest.mark.promise("request line, and each header")
@pytest.mark.parametrize("characters", [8_000, 8_200, 40_000])
async def test_a_header_that_is_too_long_is_refused_with_its_limit(
    deployment: Deployment, characters: int
) -> None:
    async with deployment.api() as api:
        answer = await api.send("GET", "/v1/jobs", headers={"X-Trace": "x" * characters})
    if characters < LINE_BYTES_MAX:
        answer.expect(200)
    else:
        assert answer.expect(400)["detail"] == TOO_LONG


TOO_LONG = f"the request line or a header is longer than {LINE_BYTES_MAX:,} bytes"
