"""Filters and counts of jobs over HTTP, for operators and for services that see their own jobs."""

from __future__ import annotations

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.support.deployment import Deployment, text_to_image


async def test_lists_and_counts_are_filtered_and_a_service_sees_its_own(
    deployment: Deployment,
) -> None:
    await deployment.open_account("other", 100)
    mine = await deployment.enqueue(metadata={"order": 7}, idempotency_key="k")
    cancelled = await deployment.enqueue(priority="low")
    await deployment.producer.cancel(cancelled.id)
    theirs = await deployment.producer.enqueue(
        text_to_image(), account_id="other", metadata={"order": 7}
    )
    keys = KeyStore(deployment.database)
    _, operator = await keys.create(Role.OPERATOR, None)
    _, service = await keys.create(Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        for key, expected in ((operator, [theirs, mine]), (service, [mine])):
            api = nobody.with_key(key)
            listed = (await api.get("/v1/jobs", metadata="order=7", fields="id")).expect(200)
            assert [one["id"] for one in listed["jobs"]] == [str(job.id) for job in expected]
            counted = (await api.get("/v1/jobs/counts", metadata="order=7")).expect(200)
            assert counted["jobs"] == len(expected)
        api = nobody.with_key(service)
        assert (await api.get("/v1/jobs/counts")).expect(200) == {
            "jobs": 2,
            "counts": [
                {"state": "queued", "reason": None, "jobs": 1},
                {"state": "cancelled", "reason": "cancelled_by_caller", "jobs": 1},
            ],
        }
        (await api.get("/v1/jobs/counts", account_id="other")).expect(403)
        (await api.get("/v1/jobs", account_id="other")).expect(403)


async def test_every_fault_of_a_filter_is_reported_by_its_parameter(deployment: Deployment) -> None:
    texts = {"state": "done", "created_from": "soon", "metadata": "order", "retried": "yes"}
    async with deployment.api() as api:
        listed = await api.get("/v1/jobs", cursor="x", **texts)
        counted = await api.get("/v1/jobs/counts", limit=3, **texts)
    assert set(listed.faults()) == {*texts, "cursor"}
    assert set(counted.faults()) == {*texts, "limit"}


async def test_a_viewer_cannot_find_out_masked_metadata_by_its_matches(
    deployment: Deployment,
) -> None:
    await deployment.enqueue(metadata={"order": 7})
    _, viewer = await KeyStore(deployment.database).create(Role.VIEWER, None)
    async with deployment.api() as nobody:
        api = nobody.with_key(viewer)
        (await api.get("/v1/jobs", metadata="order=7")).expect(403)
        (await api.get("/v1/jobs/counts", metadata="order=8")).expect(403)
        assert (await api.get("/v1/jobs/counts", state="queued")).expect(200)["jobs"] == 1
