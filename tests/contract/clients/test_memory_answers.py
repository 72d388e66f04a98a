"""Every answer of the Darkroom in memory fits the OpenAPI document, and none is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest
from darkroom_client.testing import InMemoryDarkroom
from darkroom_client.testing.scripted_kie import one_colour_png
from jsonschema_rs import validator_for

from clients.generator.openapi_schemas import read_document, service_operations

DOCUMENT = read_document()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
ORDER = {"task": "text-to-image", "prompt": "a cat", "aspect_ratio": "3:2"}
NOT_JSON = {"streamJob", "streamAccount", "getJobImage", "downloadStatement"}
"""Operations whose answers other tests read."""


@pytest.fixture(scope="module")
def darkroom() -> Iterator[InMemoryDarkroom]:
    with InMemoryDarkroom(account_id="acme") as running:
        yield running


@pytest.fixture(scope="module")
def job_ids(darkroom: InMemoryDarkroom) -> Mapping[str, str]:
    """A job that succeeded, one that failed and one that waits."""
    client = darkroom.client()
    succeeded = client.enqueue(prompt="a cat", aspect_ratio="3:2").wait()
    darkroom.kie.fail("content_policy")
    failed = client.enqueue(prompt="a cat", aspect_ratio="3:2").wait()
    darkroom.kie.take(60)
    running = client.enqueue(prompt="a cat", aspect_ratio="3:2")
    return {"succeeded": succeeded.id, "failed": failed.id, "running": running.id}


def requests(
    job_ids: Mapping[str, str], file_id: str, message_id: str
) -> dict[str, list[dict[str, Any]]]:
    """Return the requests of each operation: arguments of the path, and of the request."""
    ids = [{"id": one} for one in job_ids.values()]
    acme = {"id": "acme"}
    return {
        "createJob": [{"json": ORDER}],
        "createJobs": [{"json": {"jobs": [ORDER, ORDER]}}],
        "listJobs": [{}, {"params": {"limit": 1, "fields": "id,state"}}],
        "countJobs": [{}],
        "getJob": ids,
        "cancelJob": [{"id": job_ids["running"]}],
        "cancelJobs": [{"json": {"ids": [*job_ids.values()], "dry_run": True}}],
        "retryJob": [{"id": job_ids["failed"]}, {"id": job_ids["failed"]}],
        "retryJobs": [{"json": {"ids": [*job_ids.values()]}}],
        "uploadFile": [{"content": one_colour_png(1)}],
        "getFile": [{"id": file_id}],
        "listPrices": [{}],
        "getQuote": [{"params": ORDER}],
        "quoteOrder": [{"json": ORDER}, {"json": {}}],
        "getAccount": [acme],
        "listLedger": [acme, {**acme, "params": {"limit": 1}}],
        "getStatement": [acme],
        "listWebhooks": [{}, {"params": {"limit": 1, "state": "pending"}}],
        "getWebhook": [{"id": message_id}, {"id": "msg_none"}],
        "replayWebhook": [{"id": message_id}],
        "createWebhookSecret": [acme, {**acme, "params": {"url": "https://shop.example/?a=1"}}],
        "getWebhookSecret": [acme, {**acme, "params": {"url": "https://shop.example/"}}],
        "rotateWebhookSecret": [acme],
        "revokeWebhookSecret": [acme, acme],
    }


def test_every_answer_fits_its_schema(
    darkroom: InMemoryDarkroom, job_ids: Mapping[str, str]
) -> None:
    file_id = darkroom.client().upload(one_colour_png(1)).id
    darkroom.client().enqueue(
        prompt="a cat", aspect_ratio="3:2", webhook_url="http://127.0.0.1:9/"
    ).wait()
    message_id = darkroom.webhooks[-1].id
    told = requests(job_ids, file_id, message_id)
    assert set(told) == {one["operationId"] for one in service_operations(DOCUMENT)} - NOT_JSON
    headers = {"Authorization": f"Bearer {darkroom.key}"}
    with httpx2.Client(base_url=darkroom.url, headers=headers, trust_env=False) as http:
        for name, asked in told.items():
            method, path, operation = OPERATIONS[name]
            for one in asked:
                given = dict(one)
                answer = http.request(method, path.format(id=given.pop("id", "")), **given)
                assert not faults_of(operation, answer), (name, answer.text)


def faults_of(operation: Mapping[str, Any], answer: httpx2.Response) -> list[str]:
    """Return what in the answer does not fit what is documented for its status."""
    response = operation["responses"].get(str(answer.status_code), {})
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][str(answer.status_code)]
    content = response.get("content", {}).get(answer.headers["Content-Type"])
    if content is None:
        return [f"{answer.status_code} {answer.headers['Content-Type']} is not documented"]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    return [str(fault) for fault in validator_for(schema).iter_errors(answer.json())]


def test_an_answer_that_lacks_a_member_is_found() -> None:
    _, _, operation = OPERATIONS["getAccount"]
    lacking = httpx2.Response(200, json={"id": "acme", "balance": 1})
    assert "required property" in str(faults_of(operation, lacking))
