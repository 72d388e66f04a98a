"""Jobs over HTTP, as a backend service in any language uses them."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from producer.api import serving_api
from producer.orders.order import Order
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually, text_to_image

ORDER = {
    "account_id": "acme",
    "task": "text-to-image",
    "prompt": "a lighthouse at dusk",
    "aspect_ratio": "3:2",
    "quantity": 2,
}


def order(**changes: Any) -> dict[str, Any]:
    return {**ORDER, **changes}


async def test_a_job_is_placed_waited_for_and_charged(deployment: Deployment) -> None:
    async with deployment.api() as api, deployment.worker():
        answer = await api.post("/v1/jobs", order(metadata={"order": 1042}))
        placed = answer.expect(202)
        assert answer.headers["Location"] == f"/v1/jobs/{placed['id']}"
        assert (placed["state"], placed["credits_quoted"]) == ("queued", 7)
        assert placed["credits_charged"] is None

        ended = (await api.get(f"/v1/jobs/{placed['id']}", wait=30)).expect(200)
    assert (ended["state"], ended["credits_charged"]) == ("succeeded", 7)
    assert len(ended["result_urls"]) == 2
    assert ended["metadata"] == {"order": 1042}
    assert ended["request"]["prompt"] == ORDER["prompt"]
    await deployment.check_account(balance=9_993)
    await deployment.check_invariants_hold()


async def test_image_to_image_is_another_task(deployment: Deployment) -> None:
    body = {
        "account_id": "acme",
        "task": "image-to-image",
        "image_urls": ["https://example.com/cat.png"],
        "aspect_ratio": "1:1",
    }
    async with deployment.api() as api:
        placed = (await api.post("/v1/jobs", body)).expect(202)
    assert (placed["task"], placed["credits_quoted"]) == ("image-to-image", 6)


async def test_every_fault_of_a_body_is_reported_at_once(deployment: Deployment) -> None:
    body = order(
        account_id="two words",
        aspect_ratio="16:9",
        quality="high",
        priority="urgent",
        run_at="soon",
    )
    async with deployment.api() as api:
        faults = (await api.post("/v1/jobs", body)).faults()
    assert set(faults) == {"account_id", "aspect_ratio", "quality", "priority", "run_at"}
    assert "no quality option" in faults["quality"]
    assert await deployment.run_sql("SELECT id FROM jobs") == []


_GRANT = "/v1/accounts/acme/grants"


async def test_faults_of_headers_query_and_body_are_reported_at_once(
    deployment: Deployment,
) -> None:
    bad = order(priority="urgent")
    price = "/v1/prices/gpt-4o-image/text-to-image/1"
    async with deployment.api() as api:
        job = await api.post("/v1/jobs?check_images=maybe", bad, Idempotency_Key="k" * 256)
        batch = await api.post("/v1/jobs/batch?dry=1", {"jobs": [bad]}, Idempotency_Key="k" * 252)
        grant = await api.post(_GRANT, {"credits": 0, "reason": "x"}, Idempotency_Key="\u00e9")
        image = await api.post(
            "/openai/v1/images/generations", {"size": "tall"}, Idempotency_Key="k" * 256
        )
        change = await api.put(f"{price}?variant={'v' * 300}&draft=1", {"credits": -1})
    assert set(job.faults()) == {"check_images", "Idempotency-Key", "priority"}
    assert set(batch.faults()) == {"dry", "Idempotency-Key", "jobs.0.priority"}
    assert set(grant.faults()) == {"credits", "Idempotency-Key"}
    assert set(change.faults()) >= {"variant", "draft", "credits"}
    assert image.status == 400, image.body
    assert "Idempotency-Key" in str(image.body), image.body
    assert "size" in str(image.body), image.body
    assert await deployment.run_sql("SELECT id FROM jobs") == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task": "video"}, "task"),
        ({"task": None}, "task"),
        ({"model": "sora"}, "model"),
        ({"model": 4}, "model"),
        ({"metadata": [1]}, "metadata"),
        ({"run_at": "2026-01-01T00:00:00"}, "run_at"),
        ({"webhook_url": "ftp://shop.example"}, "webhook_url"),
        ({"idempotency_key": "k"}, "idempotency_key"),
    ],
)
async def test_a_wrong_field_is_named(
    deployment: Deployment, changes: dict[str, Any], field: str
) -> None:
    async with deployment.api() as api:
        assert set((await api.post("/v1/jobs", order(**changes))).faults()) == {field}


async def test_too_few_credits_are_402_with_the_figures(deployment: Deployment) -> None:
    await deployment.open_account("poor", 6)
    async with deployment.api() as api:
        problem = (await api.post("/v1/jobs", order(account_id="poor"))).expect(402)
    assert problem["type"] == "urn:darkroom:problem:insufficient_credits"
    assert (problem["needed"], problem["available"], problem["held"]) == (7, 6, 0)


async def test_an_unknown_account_is_a_fault_of_that_field(deployment: Deployment) -> None:
    async with deployment.api() as api:
        faults = (await api.post("/v1/jobs", order(account_id="nobody"))).faults()
    assert set(faults) == {"account_id"}


async def test_the_same_key_gets_the_same_answer_again(deployment: Deployment) -> None:
    async with deployment.api() as api, deployment.worker():
        first = await api.post("/v1/jobs", order(), Idempotency_Key="order-1042")
        job = first.expect(202)
        (await api.get(f"/v1/jobs/{job['id']}", wait=30)).expect(200)
        again = await api.post("/v1/jobs", order(), Idempotency_Key="order-1042")
    assert again.expect(202) == job
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    await deployment.check_account(balance=9_993)


@pytest.mark.promise("URL of an image, a mask or a webhook")
async def test_the_longest_urls_of_images_reach_kie_with_the_longest_prompt(
    deployment: Deployment,
) -> None:
    """Signed URLs of buckets are long. All of them fit into one body, however they are written."""
    urls = [f"https://bucket.example/{n}.png?X-Amz-Signature=".ljust(8192, "f") for n in range(16)]
    given = {
        "account_id": "acme",
        "model": "gpt-image-1.5",
        "task": "image-to-image",
        "quality": "medium",
        "image_urls": urls,
        "prompt": "\N{PARTY POPPER}" * 1_000,
        "aspect_ratio": "1:1",
    }
    async with deployment.api() as api, deployment.worker():
        placed = (await api.post("/v1/jobs", given)).expect(202)
        assert placed["request"]["image_urls"] == urls
        ended = (await api.get(f"/v1/jobs/{placed['id']}", wait=30)).expect(200)
        assert ended["state"] == "succeeded"
        refused = await api.post("/v1/jobs", {**given, "image_urls": [urls[0] + "f"]})
        assert refused.faults() == {
            "image_urls.0": "is 8193 characters long; at most 8192 are allowed"
        }


@pytest.mark.promise("is `409 idempotency_conflict`, which names what differs")
async def test_the_same_key_for_something_else_is_a_conflict_that_names_it(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api:
        job = (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        other = order(quantity=4, metadata={"a": 1})
        problem = (await api.post("/v1/jobs", other, Idempotency_Key="k")).expect(409)
    assert problem["type"] == "urn:darkroom:problem:idempotency_conflict"
    assert problem["differs"] == ["quantity", "metadata"]
    assert problem["job_id"] == job["id"]


@pytest.mark.promise("**A refusal is not stored.**")
async def test_a_refusal_is_not_kept_under_its_key(deployment: Deployment) -> None:
    await deployment.open_account("poor", 6)
    async with deployment.api() as api:
        asked = order(account_id="poor")
        (await api.post("/v1/jobs", asked, Idempotency_Key="k")).expect(402)
        (await api.post("/v1/jobs", {**asked, "quantity": 3}, Idempotency_Key="k")).expect(422)
        grant = {"credits": 1, "reason": "x"}
        (await api.post("/v1/accounts/poor/grants", grant)).expect(200)
        placed = await api.post("/v1/jobs", asked, Idempotency_Key="k")
        assert placed.expect(202)["state"] == "queued"
        assert "Idempotent-Replayed" not in placed.headers


@pytest.mark.promise("A batch has that header if all of its jobs were accepted before")
async def test_a_batch_with_a_new_job_is_no_repetition(deployment: Deployment) -> None:
    async with deployment.api() as api:
        for count, is_replayed in ((2, False), (2, True), (3, False), (3, True)):
            body = {"jobs": [order(prompt=str(number)) for number in range(count)]}
            placed = await api.post("/v1/jobs/batch", body, Idempotency_Key="night")
            assert len(placed.expect(202)["jobs"]) == count
            assert ("Idempotent-Replayed" in placed.headers) is is_replayed


@pytest.mark.promise("50 entries by default, and 1,000 at most with `limit`")
async def test_a_list_has_50_jobs_unless_another_limit_is_given(deployment: Deployment) -> None:
    orders = [Order(request=text_to_image(f"{n}"), account_id="acme") for n in range(1_001)]
    await deployment.producer.enqueue_many(orders)
    async with deployment.api() as api:
        for path, key in (("/v1/jobs", "jobs"), ("/v1/accounts/acme/ledger", "entries")):
            for query, count in (({}, 50), ({"limit": 1}, 1), ({"limit": 1_000}, 1_000)):
                page = (await api.get(path, **query)).expect(200)
                assert len(page[key]) == count, path
                assert page["next_cursor"] is not None
            assert set((await api.get(path, limit=1_001)).faults()) == {"limit"}


@pytest.mark.promise("Keys belong to the account and never expire")
async def test_keys_are_scoped_to_the_account(deployment: Deployment) -> None:
    await deployment.open_account("other", 100)
    async with deployment.api() as api:
        first = (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        second = (
            await api.post("/v1/jobs", order(account_id="other", quantity=1), Idempotency_Key="k")
        ).expect(202)
    assert first["id"] != second["id"]


async def test_a_wait_ends_when_the_time_is_over(deployment: Deployment) -> None:
    async with deployment.api() as api:
        job = (await api.post("/v1/jobs", order())).expect(202)
        same = (await api.get(f"/v1/jobs/{job['id']}", wait=0.2)).expect(200)
    assert same["state"] == "queued"


@pytest.mark.promise("or after that number of seconds", "Up to 60 may be asked for", "wait")
@pytest.mark.parametrize("wait", ["61", "-1", "soon", "nan", "inf", "1_0", ""])
async def test_a_wait_has_its_limits(deployment: Deployment, wait: str) -> None:
    async with deployment.api() as api:
        job = (await api.post("/v1/jobs", order())).expect(202)
        assert set((await api.get(f"/v1/jobs/{job['id']}", wait=wait)).faults()) == {"wait"}


@pytest.mark.promise("time for requests in progress when the API stops")
async def test_waiters_are_released_when_the_process_leaves(deployment: Deployment) -> None:
    async with AsyncExitStack() as outer:
        inner = await outer.enter_async_context(AsyncExitStack())
        (address,) = await inner.enter_async_context(serving_api(deployment.settings))
        session = aiohttp.ClientSession(f"http://{address}")
        api = ApiClient(await outer.enter_async_context(session))
        job = (await api.post("/v1/jobs", order())).expect(202)
        waiting = asyncio.create_task(api.get(f"/v1/jobs/{job['id']}", wait=60))
        await eventually(deployment.is_waited_for, "the wait has begun")
        started = time.monotonic()
        await inner.aclose()
        assert (await waiting).expect(200)["state"] == "queued"
    assert time.monotonic() - started < 10


@pytest.mark.promise("`409`: the job has ended.")
async def test_a_queued_job_is_cancelled_and_its_hold_released(deployment: Deployment) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with deployment.api() as api, deployment.worker():
        job = (await api.post("/v1/jobs", order(run_at=later))).expect(202)
        cancelled = (await api.post(f"/v1/jobs/{job['id']}/cancel")).expect(200)
        assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled_by_caller")
        problem = (await api.post(f"/v1/jobs/{job['id']}/cancel")).expect(409)
    assert problem["state"] == "cancelled"
    await deployment.check_account(balance=10_000)


@pytest.mark.promise("a success is charged and has its images")
async def test_a_job_at_kie_is_not_waited_for_any_more_and_a_success_is_charged(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api, deployment.worker():
        job = (await api.post("/v1/jobs", order(prompt="[[sim: duration=2]]"))).expect(202)
        path = f"/v1/jobs/{job['id']}"
        await deployment.in_state(await deployment.producer.get(job["id"]), "generating")
        asked = (await api.post(f"{path}/cancel")).expect(202)
        assert (asked["state"], asked["credits_charged"]) == ("generating", None)
        assert (await api.post(f"{path}/cancel")).expect(202) == asked
        # A wait that begins now is for the end.
        ended = (await api.get(path, wait=60)).expect(200)
        assert (ended["state"], len(ended["result_urls"])) == ("succeeded", 2)
        assert ended["cancel_requested_at"] == asked["cancel_requested_at"]
        (await api.post(f"{path}/cancel")).expect(409)
    await deployment.check_account(balance=10_000 - ended["credits_charged"])


@pytest.mark.parametrize(
    "job_id", ["01a20a46-891f-7710-bbdb-703fdb01d3cd", "nonsense", "%00", "%F0%9F%98%80", "a" * 300]
)
async def test_an_unknown_job_is_404(deployment: Deployment, job_id: str) -> None:
    async with deployment.api() as api:
        problem = (await api.get(f"/v1/jobs/{job_id}")).expect(404)
    assert problem["type"] == "urn:darkroom:problem:job_not_found"


@pytest.mark.promise("up to 1,000 orders, all or none")
async def test_a_batch_is_all_or_nothing(deployment: Deployment) -> None:
    async with deployment.api() as api:
        jobs = [order(prompt=f"picture {n}") for n in range(3)]
        answer = await api.post("/v1/jobs/batch", {"jobs": jobs}, Idempotency_Key="b")
        placed = answer.expect(202)["jobs"]
        assert [job["request"]["prompt"] for job in placed] == [f"picture {n}" for n in range(3)]
        again = await api.post("/v1/jobs/batch", {"jobs": jobs}, Idempotency_Key="b")
        assert again.expect(202)["jobs"] == placed

        wrong = [order(), order(quantity=3), {"task": 7}, "job"]
        faults = (await api.post("/v1/jobs/batch", {"jobs": wrong})).faults()
        assert set(faults) == {"jobs.1.quantity", "jobs.2.account_id", "jobs.2.task", "jobs.3"}

        await deployment.open_account("poor", 7)
        poor = [order(account_id="poor"), order(account_id="poor")]
        (await api.post("/v1/jobs/batch", {"jobs": poor})).expect(402)
    assert len(await deployment.run_sql("SELECT id FROM jobs")) == 3


@pytest.mark.promise("jobs in a batch")
@pytest.mark.parametrize("jobs", [None, [], {}, [ORDER] * 1001])
async def test_a_batch_has_1_to_1000_jobs(deployment: Deployment, jobs: Any) -> None:
    async with deployment.api() as api:
        assert set((await api.post("/v1/jobs/batch", {"jobs": jobs})).faults()) == {"jobs"}


async def test_lists_are_paged_newest_first_without_gap_or_repeat(deployment: Deployment) -> None:
    async with deployment.api() as api:
        jobs = [order(prompt=f"picture {n}") for n in range(7)]
        placed = (await api.post("/v1/jobs/batch", {"jobs": jobs})).expect(202)["jobs"]
        seen: list[str] = []
        query: dict[str, Any] = {"account_id": "acme", "state": "queued", "limit": 3}
        while True:
            page = (await api.get("/v1/jobs", **query)).expect(200)
            seen += [job["id"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert seen == [job["id"] for job in reversed(placed)]
        assert (await api.get("/v1/jobs", state="succeeded")).expect(200)["jobs"] == []


@pytest.mark.promise("limit")
async def test_every_wrong_parameter_is_named(deployment: Deployment) -> None:
    async with deployment.api() as api:
        answer = await api.get("/v1/jobs", state="done", limit=0, cursor="x", colour="red")
    assert set(answer.faults()) == {"state", "limit", "cursor", "colour"}


async def test_an_address_that_is_not_there_is_a_problem_too(deployment: Deployment) -> None:
    async with deployment.api() as api:
        assert (await api.get("/v2/jobs")).expect(404)["type"].endswith(":not_found")
        answer = await api.send("DELETE", "/v1/jobs")
        assert answer.expect(405)["type"].endswith(":method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.promise("one of up to 100 characters")
async def test_a_request_id_is_repeated_or_made(deployment: Deployment) -> None:
    async with deployment.api() as api:
        given = await api.send("GET", "/v1/prices", headers={"X-Request-Id": "trace-7"})
        made = await api.get("/v1/prices")
    assert given.headers["X-Request-Id"] == "trace-7"
    assert len(made.headers["X-Request-Id"]) == 32
