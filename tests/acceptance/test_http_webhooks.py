"""Webhook messages and secrets over HTTP: a service sees and changes those of its own account."""

from __future__ import annotations

from typing import Any

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.acceptance.cli.test_webhooks_cli import dead
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment

SECRET = "/v1/accounts/acme/webhook-secret"
URL = "https://shop.example/hook"


async def client(deployment: Deployment, api: ApiClient, role: Role, account: str | None) -> Any:
    _, key = await KeyStore(deployment.database).create(role, account)
    return api.with_key(key)


async def test_a_service_lists_shows_and_replays_the_messages_of_its_account(
    deployment: Deployment,
) -> None:
    await deployment.open_account("other", 100)
    jobs = [await dead(deployment) for _ in range(3)]
    async with deployment.api() as nobody:
        mine = await client(deployment, nobody, Role.SERVICE, "acme")
        theirs = await client(deployment, nobody, Role.SERVICE, "other")
        viewer = await client(deployment, nobody, Role.VIEWER, None)
        first = (await mine.get("/v1/webhooks", limit=2, state="dead")).expect(200)
        assert [one["job_id"] for one in first["webhooks"]] == [
            str(job.id) for job in reversed(jobs[1:])
        ]
        assert "token" not in str(first)
        rest = (await mine.get("/v1/webhooks", cursor=first["next_cursor"])).expect(200)
        assert [one["job_id"] for one in rest["webhooks"]] == [str(jobs[0].id)]
        assert rest["next_cursor"] is None
        about = (await mine.get("/v1/webhooks", job_id=str(jobs[0].id))).expect(200)
        assert about["webhooks"] == rest["webhooks"]
        message = f"/v1/webhooks/{rest['webhooks'][0]['id']}"
        assert (await mine.get(message)).expect(200) == {**rest["webhooks"][0], "history": []}
        replayed = (await mine.post(f"{message}/replay")).expect(200)
        assert (replayed["state"], replayed["tries"]) == ("pending", 0)
        assert (await theirs.get("/v1/webhooks")).expect(200)["webhooks"] == []
        (await theirs.get("/v1/webhooks", account_id="acme")).expect(403)
        for path in (message, f"/v1/webhooks/msg_{'0' * 32}"):
            (await theirs.get(path)).expect(404)
            (await theirs.post(f"{path}/replay")).expect(404)
        (await viewer.get("/v1/webhooks")).expect(403)
        faults = (await mine.get("/v1/webhooks", state="lost", cursor="x", job_id="y")).faults()
        assert set(faults) == {"state", "cursor", "job_id"}
    [entry] = await deployment.producer.billing.audit(act="webhook_replayed")
    assert (entry["account_id"], entry["key_role"]) == ("acme", "service")


async def test_a_service_makes_rotates_and_revokes_the_secret_of_its_account(
    deployment: Deployment,
) -> None:
    await deployment.open_account("other", 100)
    async with deployment.api() as nobody:
        mine = await client(deployment, nobody, Role.SERVICE, "acme")
        theirs = await client(deployment, nobody, Role.SERVICE, "other")
        operator = await client(deployment, nobody, Role.OPERATOR, None)
        (await mine.get(SECRET)).expect(404)
        (await mine.post(f"{SECRET}/rotate")).expect(404)
        made = await mine.put(SECRET, {})
        assert made.headers["Cache-Control"] == "no-store"
        first = made.expect(200)
        assert first["secret"].startswith("whsec_")
        assert (first["account_id"], first["url"]) == ("acme", None)
        assert (await mine.put(SECRET, {})).expect(200) == first
        assert (await mine.get(SECRET)).expect(200) == first
        rotated = (await mine.post(f"{SECRET}/rotate")).expect(200)
        assert rotated["secret"] != first["secret"]
        assert rotated["previous_secret_until"] is not None
        of_url = (await mine.send("PUT", SECRET, params={"url": f"{URL}?a=1"})).expect(200)
        assert (of_url["url"], of_url["secret"] == rotated["secret"]) == (URL, False)
        assert (await mine.get(SECRET, url=URL)).expect(200) == of_url
        (await mine.get(SECRET, url=f"{URL}/other")).expect(404)
        refused = await mine.send("PUT", SECRET, params={"url": "http://10.0.0.1/"})
        assert "WEBHOOKS_ALLOW" in str(refused.expect(422)["errors"])
        for other, status in ((theirs, 403), (operator, 403)):
            (await other.get(SECRET)).expect(status)
            (await other.post(f"{SECRET}/revoke")).expect(status)
        revoked = (await mine.post(f"{SECRET}/revoke")).expect(200)
        assert "secret" not in revoked
        (await mine.get(SECRET)).expect(404)
        assert (await mine.get(SECRET, url=URL)).expect(200) == of_url
        assert (await mine.put(SECRET, {})).expect(200)["secret"] != rotated["secret"]
    entries = await deployment.producer.billing.audit(account_id="acme")
    assert "whsec" not in str(entries)
    acts = [one["act"] for one in entries if one["act"].startswith("webhook_secret")]
    made_and_ended = ["webhook_secret_created", "webhook_secret_revoked"]
    assert acts == [*made_and_ended, "webhook_secret_rotated", "webhook_secret_created"]


async def test_an_admin_creates_an_account(deployment: Deployment) -> None:
    async with deployment.api() as nobody:
        api = await client(deployment, nobody, Role.ADMIN, None)
        made = await api.post("/v1/accounts", {"id": "caf\u00e9/1", "credits": 12.5})
        assert made.expect(201)["available"] == 12.5
        assert made.headers["Location"] == "/v1/accounts/caf%C3%A9%2F1"
        assert (await api.get(made.headers["Location"])).expect(200) == made.expect(201)
        again = await api.post("/v1/accounts", {"id": "caf\u00e9/1"})
        assert again.expect(409)["type"] == "urn:darkroom:problem:already_exists"
        for body, fields in (
            ({}, {"id"}),
            ({"id": "a b", "credits": -1}, {"id", "credits"}),
            ({"id": "x" * 201, "name": "x"}, {"id", "name"}),
        ):
            assert set((await api.post("/v1/accounts", body)).faults()) == fields
        for role, account in ((Role.SERVICE, "acme"), (Role.OPERATOR, None), (Role.VIEWER, None)):
            other = await client(deployment, nobody, role, account)
            (await other.post("/v1/accounts", {"id": "shop"})).expect(403)
