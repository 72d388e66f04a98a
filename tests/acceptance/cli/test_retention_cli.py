"""`darkroom prune` and `darkroom accounts erase-prompts`, and the same over HTTP."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from shared.adapters.redis.deliveries import connect_redis
from shared.domain.lifecycle import JobState
from tests.acceptance.cli.cli_program import Darkroom
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import age
from tests.support.deployment import Deployment, image_to_image, text_to_image
from tests.support.marked_texts import columns_with, redis_keys_with

MARK = "xq7-marked"


async def test_old_data_is_counted_asked_for_and_deleted(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    setup = DatabaseSetup(deployment.database)
    old = await setup.job_in(JobState.FAILED, request=text_to_image(MARK))
    await age(setup, old.id)
    there = darkroom.elsewhere(RETENTION_PROMPTS_DAYS="30", RETENTION_JOBS_DAYS="forever")
    counted, shown, refused, mistyped = await there.run_all(
        ("prune", "--dry-run", "--json"), ("prune", "--dry-run"), ("prune",), ("prune", "now")
    )
    assert (counted.code, counted.object["dry_run"]) == (0, True)
    kinds = {one["kind"]: one for one in counted.object["kinds"]}
    assert set(kinds) == {"events", "callbacks", "webhooks", "prompts"}
    assert (kinds["prompts"]["rows"], kinds["prompts"]["days"]) == (1, 30)
    assert kinds["events"]["rows"] == 4
    assert "forever" in shown.out
    assert refused.code != 0
    assert "deletes for good 4 events, 1 requests" in refused.err
    assert mistyped.code == 2
    assert (await deployment.producer.get(old.id)).request["prompt"] == MARK
    said = await there.run("prune", "--yes")
    assert (said.code, said.err.splitlines()[-1]) == (0, "deleted: 4 events, 1 requests")
    entries = await deployment.producer.billing.audit(act="data_pruned")
    assert {(one["actor"], one["via"]) for one in entries} == {(getpass.getuser(), "cli")}
    listed, retried = await there.run_all(
        ("jobs", "show", str(old.id)), ("jobs", "retry", str(old.id))
    )
    assert "the request was deleted" in listed.out
    assert retried.code != 0
    assert "its request was pruned at" in retried.err
    await deployment.check_invariants_hold()


@pytest.mark.promise("A retry is refused with `409`")
async def test_the_prompts_of_an_account_are_erased_everywhere_while_it_works(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    image = image_to_image(image_urls=(f"https://x.example/{MARK}.png",), prompt=MARK)
    async with deployment.worker():
        for request in (text_to_image(MARK), image):
            job = await deployment.enqueue(request, metadata={"note": MARK})
            await deployment.ended(job)
    waits = await deployment.enqueue(text_to_image(MARK))
    erase = ("accounts", "erase-prompts", "acme")
    counted, refused, unknown = await darkroom.run_all(
        (*erase, "--dry-run", "--json"), erase, (*erase[:2], "nobody", "--yes")
    )
    assert (counted.object["jobs"], counted.object["waiting"]) == (2, 1)
    assert refused.code != 0
    assert "of 2 ended jobs of acme for good, and of 1 open job when they end" in refused.err
    assert unknown.code == 3
    said = await darkroom.run(*erase, "--yes", "--reason", "asked", "--json")
    assert (said.object["jobs"], said.object["waiting"]) == (2, 1)
    (entry,) = await deployment.producer.billing.audit(act="prompts_erased")
    assert (entry["actor"], entry["reason"]) == (getpass.getuser(), "asked")
    listed, readable, unknown = await darkroom.run_all(
        ("accounts", "erasures", "acme", "--json"), ("accounts", "erasures", "acme"),
        ("accounts", "erasures", "nobody"),
    )  # fmt: skip
    assert (listed.object["jobs"], listed.object["waiting"]) == (2, 1)
    assert "waiting" in readable.out
    assert unknown.code == 3
    await deployment.producer.cancel(waits.id)
    async with deployment.api() as api:
        reply = await api.post("/v1/accounts/acme/erase-prompts", {"reason": "asked again"})
        assert (reply.status, reply.body["jobs"], reply.body["waiting"]) == (200, 3, 0)
        kept = reply.body
        (erasure,) = (await api.get("/v1/accounts/acme/erasures")).expect(200)["erasures"]
        assert (erasure, erasure["ended_at"] is None) == (kept, False)
        assert (await api.get("/v1/accounts/nobody/erasures")).status == 404
        assert (await api.get("/v1/accounts/acme/erasures", limit=0)).status == 422
        missing = await api.post("/v1/accounts/nobody/erase-prompts", {"reason": "why"})
        assert missing.status == 404
        shown = await api.get(f"/v1/jobs/{job.id}")
        assert (shown.body["request"], shown.body["metadata"]) == ({}, {})
        assert shown.body["pruned_at"] is not None
        assert (shown.body["state"], shown.body["result_urls"]) == ("succeeded", [])
        again = await api.post(f"/v1/jobs/{waits.id}/retry", {})
        assert again.status == 409
    assert await columns_with(deployment.database, MARK) == set()
    assert deployment.settings.redis_url is not None
    async with connect_redis(deployment.settings.redis_url.get_secret_value()) as redis:
        assert await redis_keys_with(redis, MARK) == []
    await deployment.check_invariants_hold()


async def test_old_data_is_counted_and_deleted_over_http(deployment: Deployment) -> None:
    setup = DatabaseSetup(deployment.database)
    for days in (100, 500, 40):
        await age(setup, (await setup.job_in(JobState.CANCELLED)).id, days=days)
    async with deployment.api(retention_prompts_days=30, retention_jobs_days=None) as api:
        found = (await api.get("/v1/retention")).expect(200)["kinds"]
        rows = {one["kind"]: (one["days"], one["rows"]) for one in found}
        assert rows == {
            "events": (90, 4),
            "callbacks": (90, 0),
            "webhooks": (90, 0),
            "prompts": (30, 3),
        }
        assert await setup.value("SELECT count(*) FROM jobs WHERE pruned_at IS NOT NULL") == 0
        done = (await api.post("/v1/retention/prune", {})).expect(200)
        assert (done["pruned"]["events"], done["pruned"]["prompts"]) == (4, 3)
        assert {one["rows"] for one in done["kinds"]} == {0}
        again = (await api.post("/v1/retention/prune", {})).expect(200)
        assert sum(again["pruned"].values()) == 0
        assert (await api.get("/v1/retention", kind="events")).status == 422
    assert {one["via"] for one in await setup.billing.audit(act="data_pruned")} == {"api"}
    assert await setup.broken_invariants() == {}


async def test_an_erasure_says_which_copies_stay_and_the_command_that_deletes_them(
    darkroom: Darkroom, deployment: Deployment, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    async with deployment.worker(results_url=f"file://{store}"):
        await deployment.ended(await deployment.enqueue())
    there = darkroom.elsewhere(RESULTS_URL=f"file://{store}")
    erase = ("accounts", "erase-prompts", "acme")
    advice = (
        "1 copy of an image stays in the store, sent to nobody, until"
        " `darkroom results prune --older-than 36500d` deletes it"
    )
    counted, told, refused = await there.run_all(
        (*erase, "--dry-run", "--json"), (*erase, "--dry-run"), erase
    )
    assert (counted.object["copies"], counted.object["copies_advice"]) == (1, advice)
    assert advice in told.out
    assert advice in refused.err
    said = await there.run(*erase, "--yes")
    assert said.code == 0
    assert advice in " ".join(said.err.split())
    listed = await there.run("accounts", "erasures", "acme")
    assert advice in " ".join(listed.err.split())
    async with deployment.api() as api:
        reply = await api.post("/v1/accounts/acme/erase-prompts", {"reason": "asked again"})
        assert (reply.body["copies_to_delete"], reply.body["copies_advice"]) == (1, advice)
        assert any(path.is_file() for path in store.rglob("*"))
        command = advice.split("`")[1].split()
        pruned = await there.run(*command[1:], "--yes")
        assert pruned.code == 0, pruned.err
        assert not any(path.is_file() for path in store.rglob("*"))
        (newest, *_) = (await api.get("/v1/accounts/acme/erasures")).expect(200)["erasures"]
        assert (newest["copies_to_delete"], newest["copies_advice"]) == (0, None)
    await deployment.check_invariants_hold()
