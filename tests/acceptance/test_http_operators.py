"""What operators do to jobs over HTTP: details, retries, resolutions, replays of webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from producer import Job, JobState
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain import job_events
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, text_to_image

NOBODY = "00000000-0000-7000-8000-000000000000"
URLS = ["https://images.example/1.png"]


@pytest.fixture
def setup(deployment: Deployment) -> DatabaseSetup:
    """The worker's side of the same database."""
    return DatabaseSetup(deployment.database)


@pytest.fixture
async def api(deployment: Deployment) -> AsyncIterator[ApiClient]:
    """A client with the key of an operator."""
    _, key = await KeyStore(deployment.database).create(Role.OPERATOR, None)
    async with deployment.api() as nobody:
        yield nobody.with_key(key)


async def service(deployment: Deployment, api: ApiClient, account_id: str) -> ApiClient:
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, account_id)
    return api.with_key(key)


async def test_a_job_is_retried_once_by_its_service_and_by_an_operator(
    deployment: Deployment, setup: DatabaseSetup, api: ApiClient
) -> None:
    await deployment.open_account("other", 100)
    first = await setup.job_in(JobState.FAILED)
    path = f"/v1/jobs/{first.id}/retry"
    (await (await service(deployment, api, "other")).post(path)).expect(404)
    made = await (await service(deployment, api, "acme")).post(path)
    retry = made.expect(202)
    assert made.headers["Location"] == f"/v1/jobs/{retry['id']}"
    assert (retry["state"], retry["account_id"], retry["credits_quoted"]) == ("queued", "acme", 6)
    for body in (None, {}, {"again": True}):
        repeated = await api.post(path, body)
        assert repeated.expect(200) == retry
        assert repeated.headers["Location"] == made.headers["Location"]
    details = (await api.get(f"/v1/jobs/{first.id}/details")).expect(200)
    assert [one["id"] for one in details["retries"]] == [retry["id"]]


@pytest.mark.promise("state_conflict")
async def test_what_may_not_be_retried_says_why(
    deployment: Deployment, setup: DatabaseSetup, api: ApiClient
) -> None:
    done, queued = await setup.job_in(JobState.SUCCEEDED), await setup.enqueue()
    path = f"/v1/jobs/{done.id}/retry"
    refused = (await api.post(path)).expect(409)
    assert refused["type"] == "urn:darkroom:problem:state_conflict"
    assert [one["field"] for one in refused["errors"]] == ["again"]
    assert "6 credits were charged" in refused["detail"]
    assert set((await api.post(path, {"again": "yes"})).faults()) == {"again"}
    open_still = (await api.post(f"/v1/jobs/{queued.id}/retry")).expect(409)
    assert "is queued: only an ended job is retried" in open_still["detail"]
    (await api.post(f"/v1/jobs/{NOBODY}/retry")).expect(404)
    await deployment.open_account("poor", 6)
    broke = await setup.job_in(JobState.SUCCEEDED, account_id="poor")
    problem = (await api.post(f"/v1/jobs/{broke.id}/retry", {"again": True})).expect(402)
    assert (problem["needed"], problem["available"]) == (6, 0)
    assert (await api.post(path, {"again": True})).expect(202)["credits_quoted"] == 6


async def test_details_have_the_timeline_the_attempts_the_money_and_the_webhooks(
    deployment: Deployment, setup: DatabaseSetup, api: ApiClient
) -> None:
    job = await setup.job_in(
        JobState.FAILED, webhook_url="https://shop.example/hook?secret=1", idempotency_key="k"
    )
    details = (await api.get(f"/v1/jobs/{job.id}/details")).expect(200)
    assert details["job"] == (await api.get(f"/v1/jobs/{job.id}")).expect(200)
    assert [one["event"] for one in details["events"]] == [
        *("enqueued", "claimed", "submitted", "provider_failed"),
    ]
    (attempt,) = details["attempts"]
    assert (attempt["outcome"], attempt["provider_task_id"]) == ("accepted", job.provider_task_id)
    assert [(one["kind"], one["credits"]) for one in details["entries"]] == [
        *(("hold", 6), ("release", 6)),
    ]
    (message,) = details["webhooks"]
    assert (message["event"], message["state"]) == ("job.failed", "pending")
    assert message["endpoint"] == "https://shop.example/hook"
    assert (details["idempotency_key"], details["retry_of"]) == ("k", None)
    replayed = (await api.post(f"/v1/webhooks/{message['id']}/replay")).expect(200)
    assert (replayed["id"], replayed["tries"]) == (message["id"], 0)
    assert replayed["replayed_at"] is not None
    assert set(replayed) == set(message)
    await deployment.open_account("other", 100)
    for one in (await service(deployment, api, "acme"), await service(deployment, api, "other")):
        (await one.get(f"/v1/jobs/{job.id}/details")).expect(403)
    (await api.get(f"/v1/jobs/{NOBODY}/details")).expect(404)
    (await api.post(f"/v1/webhooks/msg_{'0' * 32}/replay")).expect(404)
    (await api.post("/v1/webhooks/soon/replay")).expect(404)


async def test_each_verdict_resolves_its_kind_of_doubt_and_names_the_key(
    deployment: Deployment, setup: DatabaseSetup, api: ApiClient
) -> None:
    async def held() -> Job:
        job = await setup.job_in(JobState.GENERATING, request=text_to_image())
        return await setup.move(job, job_events.HeldForReview)

    for job, body, state, charged in (
        (
            await setup.job_in(JobState.UNKNOWN),
            {"verdict": "submitted", "task_id": "task-1"},
            ("generating", None),
            None,
        ),
        (
            await setup.job_in(JobState.UNKNOWN),
            {"verdict": "lost", "reason": "not in the log"},
            ("failed", "submission_lost"),
            None,
        ),
        (
            await held(),
            {"verdict": "delivered", "result_urls": URLS, "reason": "seen"},
            ("succeeded", None),
            6,
        ),
        (
            await held(),
            {"verdict": "undelivered", "reason": "an error page"},
            ("failed", "result_unreadable"),
            None,
        ),
    ):
        resolved = (await api.post(f"/v1/jobs/{job.id}/resolve", body)).expect(200)
        assert ((resolved["state"], resolved["reason"]), resolved["credits_charged"]) == (
            state,
            charged,
        )
        (entry,) = await setup.billing.audit(job_id=job.id, act="job_resolved")
        assert entry["key_role"] == "operator"
        (await api.post(f"/v1/jobs/{job.id}/resolve", body)).expect(409)
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"verdict": "submitted"}, {"task_id"}),
        ({"verdict": "lost"}, {"reason"}),
        (
            {"verdict": "lost", "task_id": "t", "reason": "x", "result_urls": URLS},
            {"task_id", "result_urls"},
        ),
        ({"verdict": "delivered", "reason": "x"}, {"result_urls"}),
        ({"verdict": "undelivered"}, {"reason"}),
        ({"verdict": "forget", "reason": "x"}, {"verdict"}),
        ({"verdict": "submitted", "task_id": "two words", "reason": " "}, {"task_id", "reason"}),
        ({}, {"verdict"}),
    ],
)
async def test_a_resolution_that_does_not_fit_is_refused_by_its_fields(
    setup: DatabaseSetup, api: ApiClient, body: dict[str, Any], fields: set[str]
) -> None:
    job = await setup.job_in(JobState.UNKNOWN)
    faults = (await api.post(f"/v1/jobs/{job.id}/resolve", body)).faults()
    assert set(faults) == fields
    assert await setup.store.load(job.id) == job
