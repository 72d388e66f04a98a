"""Many jobs over HTTP: cancel and retry by ids or filters, for operators and services."""

from __future__ import annotations

from typing import Any

import pytest

from producer import JobState
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import Deployment

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def setup(deployment: Deployment) -> DatabaseSetup:
    """The worker's side of the same database."""
    return DatabaseSetup(deployment.database)


@pytest.mark.promise("`refused` has each other one", "One call is for 1,000 jobs at most")
@pytest.mark.promise("A repeated call does nothing twice")
async def test_an_operator_retries_by_a_filter_after_a_dry_run(
    deployment: Deployment, setup: DatabaseSetup
) -> None:
    jobs = [await setup.job_in(JobState.FAILED) for _ in range(3)]
    _, key = await KeyStore(deployment.database).create(Role.OPERATOR, None)
    body: dict[str, Any] = {"where": {"state": "failed", "account_id": "acme"}, "limit": 2.0}
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        dry = (await api.post("/v1/jobs/retry", {**body, "dry_run": True})).expect(200)
        assert (dry["matched"], dry["credits"], dry["done"]) == (3, 18, [])
        (account,) = dry["accounts"]
        assert (account["account_id"], account["lacking"]) == ("acme", 0)
        first = (await api.post("/v1/jobs/retry", body)).expect(200)
        assert (len(first["done"]), first["remaining"], first["credits"]) == (2, 1, 12)
        rest = await api.post("/v1/jobs/retry", {**body, "cursor": first["next_cursor"]})
        done = first["done"] + rest.expect(200)["done"]
        assert {one["id"] for one in done} == {str(job.id) for job in jobs}
        ids = [one["id"] for one in done]
        again = (await api.post("/v1/jobs/retry", {"ids": [*ids, NOBODY]})).expect(200)
    assert {one["id"]: one["job_id"] for one in again["done"]} == {
        one["id"]: one["job_id"] for one in done
    }
    assert not any(one["is_new"] for one in again["done"])
    assert [(one["id"], one["code"]) for one in again["refused"]] == [(NOBODY, "job_not_found")]
    entries = await setup.billing.audit(act="job_retried")
    assert [entry["key_role"] for entry in entries] == ["operator"] * 3
    assert await setup.broken_invariants() == {}


async def test_a_service_cancels_its_own_jobs_alone(
    deployment: Deployment, setup: DatabaseSetup
) -> None:
    await deployment.open_account("other", 100)
    mine = [await setup.enqueue() for _ in range(2)]
    theirs = await setup.enqueue(account_id="other")
    keys = KeyStore(deployment.database)
    _, service = await keys.create(Role.SERVICE, "acme")
    _, viewer = await keys.create(Role.VIEWER, None)
    everything = {"where": {"state": "queued"}}
    async with deployment.api() as nobody:
        for path in ("/v1/jobs/cancel", "/v1/jobs/retry"):
            (await nobody.with_key(viewer).post(path, everything)).expect(403)
        api = nobody.with_key(service)
        (await api.post("/v1/jobs/cancel", {"where": {"account_id": "other"}})).expect(403)
        by_id = (await api.post("/v1/jobs/cancel", {"ids": [str(theirs.id)]})).expect(200)
        assert [one["code"] for one in by_id["refused"]] == ["job_not_found"]
        done = (await api.post("/v1/jobs/cancel", everything)).expect(200)
    assert {one["id"] for one in done["done"]} == {str(job.id) for job in mine}
    assert {one["state"] for one in done["done"]} == {"cancelled"}
    assert (await setup.store.load(theirs.id)).state is JobState.QUEUED
    # A service cancels as the caller, as it does with a single job.
    assert {(await setup.store.load(job.id)).reason for job in mine} == {"cancelled_by_caller"}


@pytest.mark.promise("`where` without a filter is `422`", "jobs that one call cancels or retries")
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"ids"}),
        ({"ids": []}, {"ids"}),
        ({"ids": ["12", NOBODY]}, {"ids.0"}),
        ({"ids": [NOBODY], "where": {"task": "x"}}, {"ids"}),
        ({"where": {}}, {"where"}),
        ({"where": {"staet": "queued", "retried": "no"}}, {"where.staet", "where.retried"}),
        ({"where": {"task": 7}}, {"where.task"}),
        ({"where": "state=queued"}, {"where"}),
        ({"where": {"task": "x"}, "limit": 1_001, "dry_run": "yes"}, {"limit", "dry_run"}),
        ({"where": {"task": "x"}, "cursor": "next", "all": True}, {"cursor", "all"}),
        ({"ids": [NOBODY] * 1_001}, {"ids"}),
    ],
)
async def test_a_body_that_could_mean_other_jobs_is_refused_by_its_fields(
    deployment: Deployment, body: dict[str, Any], fields: set[str]
) -> None:
    await deployment.enqueue()
    async with deployment.api() as api:
        faults = (await api.post("/v1/jobs/cancel", body)).faults()
    assert set(faults) == fields
    assert await deployment.run_sql("SELECT id FROM jobs WHERE state <> 'queued'") == []


async def test_a_filter_that_contradicts_the_act_is_a_conflict(deployment: Deployment) -> None:
    async with deployment.api() as api:
        for path, state in (("cancel", "failed"), ("retry", "queued"), ("retry", "succeeded")):
            refused = await api.post(f"/v1/jobs/{path}", {"where": {"state": state}})
            assert [one["field"] for one in refused.expect(409)["errors"]] == ["where.state"]
