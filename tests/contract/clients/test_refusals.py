"""Refusals have the same bodies on every system."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from darkroom_client import ApiError, AsyncDarkroom, models, problems

from tests.contract.clients.systems import System

ORDER: dict[str, Any] = {"task": "text-to-image", "prompt": "a lighthouse", "aspect_ratio": "3:2"}
EDIT = {
    "task": "image-to-image",
    "aspect_ratio": "1:1",
    "image_urls": ["https://example.com/a.png"],
}
MARKET = {"model": "gpt-image-2-5", "task": "text-to-image", "prompt": "a cat"}
BAD_ORDERS: list[dict[str, Any]] = [
    {},
    {"task": "video", "prompt": "a cat"},
    {"model": "dall-e-9", "task": "text-to-image"},
    {"model": 4, "task": "text-to-image"},
    {"task": "text-to-image", "quantity": 3, "aspect_ratio": "16:9", "size": "large"},
    {**ORDER, "priority": "urgent", "metadata": [], "run_at": "soon", "webhook_url": "hook"},
    {**ORDER, "run_at": "2031-01-01T00:00:00", "account_id": "two words", "metadata": "x"},
    {**ORDER, "prompt": " ", "enhance_prompt": "yes", "fallback_model": "FLUX", "quantity": True},
    {**ORDER, "prompt": 7, "style": "vivid", "image_urls": [], "quality": "hd"},
    {**ORDER, "prompt": "x" * 20_001, "webhook_url": "https://user:pass@example.com/"},
    {**ORDER, "webhook_url": "https://10.0.0.1/hook", "metadata": {"text": "x" * 16_400}},
    {**EDIT, "image_urls": "https://example.com/a.png", "mask_url": "ftp://example.com/a.png"},
    {**EDIT, "image_urls": [], "prompt": None, "mask_url": ""},
    {**EDIT, "image_urls": ["http://127.0.0.1/a", 3, "https://a.internal/", "https://cat"]},
    {**EDIT, "image_urls": ["https://example.com/a.png"] * 6, "aspect_ratio": None},
    {**EDIT, "image_urls": ["https://example.com/a.png"] * 2, "mask_url": "https://example.com/m"},
    {**ORDER, "run_at": "2099-01-01T00:00:00Z", "webhook_url": "https://10.0.0.1/hook"},
    {**ORDER, "run_at": "0001-01-01T00:00:00+14:00"},
    {**ORDER, "run_at": "9999-12-31T23:59:00-14:00"},
    {**MARKET, "quantity": 4, "resolution": "8K", "n": 2, "background": "red"},
    {**MARKET, "aspect_ratio": "27:16", "resolution": "4K", "edition": "dusk"},
    {"model": "flux1-kontext", "task": "text-to-image", "safety_tolerance": 7, "watermark": ""},
    {**ORDER, "webhook_url": "https://10.0.0.1/hook"},
    {**ORDER, "webhook_url": "http://metadata.internal/", "run_at": None},
    {"model": "gpt-image-1.5", "task": "text-to-image", "prompt": "a cat", "aspect_ratio": "1:1"},
]
REQUESTS: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", "/v1/jobs", ["a list"], {}),
    ("POST", "/v1/jobs", ORDER, {"Content-Type": "text/plain"}),
    ("POST", "/v1/jobs", {**ORDER, "account_id": "other"}, {}),
    ("POST", "/v1/jobs", ORDER, {"Idempotency-Key": "k" * 256}),
    # Every fault of a request is told at once: header, query and body.
    ("POST", "/v1/jobs", BAD_ORDERS[4], {"Idempotency-Key": "k" * 256}),
    ("POST", "/v1/jobs?check_images=maybe", BAD_ORDERS[5], {"Idempotency-Key": "\u00e9"}),
    ("POST", "/v1/jobs?check_images=1&images=true", ORDER, {"Idempotency-Key": "a\tb"}),
    ("POST", "/v1/jobs?check_images=true&check_images=true", {**ORDER, "prompt": ""}, {}),
    ("POST", "/v1/jobs", {**ORDER, "idempotency_key": "k", "X-Idempotency-Key": "k"}, {}),
    ("POST", "/v1/jobs", {"Idempotency_Key": "k"}, {"Idempotency-Key": ""}),
    ("POST", "/v1/jobs/batch", {"jobs": [BAD_ORDERS[7], []]}, {"Idempotency-Key": "k" * 252}),
    ("POST", "/v1/jobs/batch?check_images=", {"jobs": {}, "priority": "high"}, {}),
    ("POST", "/v1/jobs/batch", {"jobs": [ORDER], "idempotency_key": "k", "n": 1}, {}),
    ("POST", "/v1/jobs/batch", {}, {"Idempotency-Key": "k" * 252}),
    ("GET", "/v1/jobs/x?wait=soon&fields=id,colour&wiat=1", None, {}),
    ("GET", "/v1/jobs/x?wait=61", None, {}),
    ("GET", "/v1/jobs?state=lost&created_from=soon&limit=0&colour=red&fields=x", None, {}),
    ("GET", "/v1/jobs?limit=x&limit=1&created_to=2031-01-01T00:00:00", None, {}),
    ("GET", "/v1/jobs/counts?state=lost&limit=1", None, {}),
    ("GET", "/v1/jobs?cursor=x&limit=1001", None, {}),
    ("GET", "/v1/webhooks?state=lost&limit=0&cursor=x&colour=red", None, {}),
    ("GET", "/v1/accounts/acme/ledger?limit=0&cursor=x&colour=red", None, {}),
    ("POST", "/v1/jobs/batch", {"jobs": []}, {}),
    ("POST", "/v1/jobs/batch", {"jobs": [ORDER, {**ORDER, "account_id": "other"}]}, {}),
    ("GET", "/v1/jobs/00000000-0000-7000-8000-000000000000", None, {}),
    ("GET", "/v1/jobs/x?wait=1", None, {}),
    ("POST", "/v1/jobs/x/cancel", None, {}),
    ("GET", "/v1/jobs?state=lost", None, {}),
    ("GET", "/v1/jobs?limit=0", None, {}),
    ("GET", "/v1/accounts/other", None, {}),
    ("GET", "/v1/accounts/other/ledger", None, {}),
    ("GET", "/v1/files/00000000-0000-7000-8000-000000000000", None, {}),
    ("GET", "/v1/nowhere", None, {}),
    ("GET", "/v1/prices", None, {"Authorization": ""}),
    ("GET", "/v1/prices", None, {"Authorization": "Bearer dk_x"}),
    ("GET", "/v1/prices", None, {"Authorization": "Basic YTpi"}),
    ("GET", "/v1/prices", None, {"Authorization": f"Bearer dk_{'a' * 12}_{'b' * 43}"}),
    ("POST", "/v1/files?account_id=acme", None, {"Content-Type": "image/png"}),
]
EXPECTED_FIELDS = [
    {"task"},
    {"task"},
    {"model"},
    {"model"},
    {"quantity", "aspect_ratio", "size", "prompt"},
    {"priority", "metadata", "run_at", "webhook_url"},
    {"run_at", "account_id", "metadata"},
    {"prompt", "enhance_prompt", "fallback_model", "quantity"},
    {"prompt", "style", "image_urls", "quality"},
    {"prompt", "webhook_url"},
    {"metadata", "webhook_url"},
    {"image_urls", "mask_url"},
    {"image_urls", "mask_url"},
    {"image_urls.0", "image_urls.1", "image_urls.2", "image_urls.3"},
    {"image_urls", "aspect_ratio"},
    {"mask_url"},
    {"run_at", "webhook_url"},
    {"run_at"},
    {"run_at"},
    {"quantity", "resolution", "n", "background"},
    {"aspect_ratio", "edition"},
    {"prompt", "safety_tolerance", "watermark"},
    {"webhook_url"},
    {"webhook_url"},
    {"quality"},
]


async def answers(system: System) -> list[tuple[int, Any]]:
    """Return the status and the body of the answer to each bad request."""
    headers = {"Authorization": f"Bearer {await system.key()}"}
    found: list[tuple[int, Any]] = []
    async with aiohttp.ClientSession(system.url, headers=headers) as session:
        for body in BAD_ORDERS:
            async with session.post("/v1/jobs", json=body) as answer:
                found.append((answer.status, await answer.json(content_type=None)))
        for method, path, body, given in REQUESTS:
            async with session.request(method, path, json=body, headers=given) as answer:
                assert answer.content_type == "application/problem+json"
                found.append((answer.status, await answer.json(content_type=None)))
    return found


TOLD: dict[str, list[tuple[int, Any]]] = {}
"""The answers of each system that has been asked. The second is compared with the first."""


async def test_every_system_refuses_with_the_same_words(system: System) -> None:
    told = await answers(system)
    fields = [{one["field"] for one in body["errors"]} for _, body in told[: len(BAD_ORDERS)]]
    assert fields == EXPECTED_FIELDS
    TOLD[type(system).__name__] = told
    for other in TOLD.values():
        assert [
            (here, there) for here, there in zip(told, other, strict=True) if here != there
        ] == []


async def test_a_bad_key_is_told_with_the_faults_of_query_and_body(system: System) -> None:
    headers = {"Authorization": f"Bearer {await system.key()}", "Idempotency-Key": "k" * 256}
    bad = {**ORDER, "prompt": "", "colour": "red"}
    given = {"check_images", "Idempotency-Key"}
    async with aiohttp.ClientSession(system.url, headers=headers) as session:
        for path, body, fields in (
            ("/v1/jobs", bad, {"prompt", "colour"}),
            ("/v1/jobs/batch", {"jobs": [ORDER, bad]}, {"jobs.1.prompt", "jobs.1.colour"}),
        ):
            async with session.post(f"{path}?check_images=maybe", json=body) as answer:
                told = await answer.json(content_type=None)
            assert answer.status == 422
            assert {one["field"] for one in told["errors"]} == given | fields
        async with session.get("/v1/jobs") as answer:
            assert (await answer.json())["jobs"] == []


async def test_a_batch_is_a_repeated_one_where_none_of_its_jobs_is_new(system: System) -> None:
    headers = {"Authorization": f"Bearer {await system.key()}", "Idempotency-Key": "night-1"}
    later = {**ORDER, "run_at": "2026-01-01T00:00:00Z"}
    async with aiohttp.ClientSession(system.url, headers=headers) as session:
        for jobs, is_repeated in (([later], False), ([later, later], False), ([later], True)):
            async with session.post("/v1/jobs/batch", json={"jobs": jobs}) as answer:
                assert answer.status == 202
                assert ("Idempotent-Replayed" in answer.headers) == is_repeated


async def test_a_refusal_is_an_exception_with_its_members(system: System) -> None:
    await system.open_account("poor", 5)
    async with AsyncDarkroom(system.url, await system.key("poor")) as darkroom:
        with pytest.raises(problems.InsufficientCredits) as poor:
            await darkroom.enqueue(prompt="a cat", aspect_ratio="1:1")
        assert (poor.value.needed, poor.value.available, poor.value.held) == (6, 5, 0)
        assert (poor.value.status, poor.value.code) == (402, "insufficient_credits")
        assert poor.value.request_id
        with pytest.raises(ApiError) as blank:
            await darkroom.enqueue(prompt="", aspect_ratio="1:1")
    assert isinstance(blank.value, problems.InvalidRequest)
    message = "is blank; it must be text of 1 to 20,000 characters"
    assert blank.value.errors == (models.FieldFault(field="prompt", message=message),)
    assert "prompt: is blank" in str(blank.value)
