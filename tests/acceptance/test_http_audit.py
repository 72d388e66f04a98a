"""Audit entries over HTTP have key and address, and only admins may read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import orjson
import pytest
from arq.connections import ArqRedis

from producer.api.routes import ENDPOINTS
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.redis_keys import WIPED_KEY, brake_key
from tests.acceptance.cli.test_cli_own_roles import open_session
from tests.acceptance.test_http_jobs import order
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import age
from tests.support.deployment import Deployment
from tests.support.stored_images import add_failed_image

GRANTS = "/v1/accounts/acme/grants"
PRICE = "/v1/prices/gpt-4o-image/text-to-image/2"


async def test_acts_over_http_name_key_role_and_address_to_admins_alone(
    deployment: Deployment,
) -> None:
    key_store = KeyStore(deployment.database)
    admin, admin_key = await key_store.create(Role.ADMIN, actor="the test")
    operator, operator_key = await key_store.create(Role.OPERATOR, actor="the test")
    _, shop_key = await key_store.create(Role.SERVICE, "acme", actor="the test")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with deployment.api() as nobody:
        boss, staff = nobody.with_key(admin_key), nobody.with_key(operator_key)
        shop = nobody.with_key(shop_key)
        jobs = [(await shop.post("/v1/jobs", order(run_at=later))).expect(202) for _ in range(3)]
        ended = [
            (await who.post(f"/v1/jobs/{job['id']}/cancel")).expect(200)
            for who, job in zip((boss, staff, shop), jobs, strict=True)
        ]
        (await boss.post(GRANTS, {"credits": 5, "reason": "gift"})).expect(200)
        (await boss.put(PRICE, {"credits": 9, "reason": "dearer"})).expect(200)
        (await shop.get("/v1/audit")).expect(403)
        (await staff.get("/v1/audit")).expect(403)
        page = (await boss.get("/v1/audit", limit=3)).expect(200)
        rest = (await boss.get("/v1/audit", cursor=page["next_cursor"])).expect(200)
        of_job = (await boss.get("/v1/audit", job_id=jobs[0]["id"])).expect(200)
        by_key = (await boss.get("/v1/audit", actor=operator.prefix)).expect(200)
        faults = (await boss.get("/v1/audit", act="theft", job_id="x", limit=0)).faults()
        schemas = (await nobody.get("/openapi.json")).expect(200)["components"]["schemas"]
    assert [one["reason"] for one in ended] == [
        *("cancelled_by_operator", "cancelled_by_operator", "cancelled_by_caller"),
    ]
    found = [*page["entries"], *rest["entries"]]
    assert [(one["act"], one["actor"], one["key_role"]) for one in found[:4]] == [
        ("price_changed", f"api:{admin.prefix}", "admin"),
        ("credits_granted", f"api:{admin.prefix}", "admin"),
        ("job_cancelled", f"api:{operator.prefix}", "operator"),
        ("job_cancelled", f"api:{admin.prefix}", "admin"),
    ]
    assert {(one["via"], one["origin"]) for one in found[:4]} == {("api", "127.0.0.1")}
    assert found[1]["reason"] == "gift"
    assert found[1]["after"]["credits"] == 5
    assert [one["job_id"] for one in of_job["entries"]] == [jobs[0]["id"]]
    assert [one["act"] for one in by_key["entries"]][:1] == ["job_cancelled"]
    assert set(faults) == {"act", "job_id", "limit"}
    assert set(found[0]) == set(schemas["AuditEntry"]["properties"])
    assert set(page) == set(schemas["AuditPage"]["properties"])
    assert admin_key not in str(found)


@pytest.mark.promise("would_leave_debt")
async def test_a_debt_over_http_is_asked_for(deployment: Deployment) -> None:
    async with deployment.api() as api:
        problem = (await api.post(GRANTS, {"credits": -10_001, "reason": "oops"})).expect(409)
        assert problem["type"] == "urn:darkroom:problem:would_leave_debt"
        assert "account acme has 10000 credits available" in problem["detail"]
        body = {"credits": -10_001, "reason": "owed", "allow_debt": "yes"}
        assert set((await api.post(GRANTS, body)).faults()) == {"allow_debt"}
        (await api.post(GRANTS, {**body, "allow_debt": False})).expect(409)
        account = (await api.post(GRANTS, {**body, "allow_debt": True})).expect(200)
    assert account["balance"] == -1
    entry = (await deployment.producer.billing.audit(limit=1))[0]
    # Without keys the caller is not known.
    assert (entry["actor"], entry["key_prefix"], entry["via"]) == ("api:loopback", None, "api")


PLAYS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "changePrice": ("PUT", PRICE, {"credits": 9, "reason": "why"}),
    "grantCredits": ("POST", GRANTS, {"credits": 5, "reason": "why"}),
    "setAccountLimits": ("PATCH", "/v1/accounts/acme", {"weight": 4, "reason": "why"}),
    "schedulePrice": (
        "POST",
        "/v1/scheduled-prices",
        {
            "model": "gpt-4o-image",
            "task": "text-to-image",
            "quantity": 4,
            "credits": 9,
            "takes_effect_at": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
            "reason": "why",
        },
    ),
    "revokeScheduledPrice": ("POST", "/v1/scheduled-prices/1/revoke", {}),
    "refundJob": ("POST", "/v1/jobs/{charged}/refund", {"reason": "why"}),
    "cancelJob": ("POST", "/v1/jobs/{id}/cancel", {}),
    "cancelJobs": ("POST", "/v1/jobs/cancel", {"ids": ["{queued}"]}),
    "retryJob": ("POST", "/v1/jobs/{failed}/retry", {}),
    "retryJobs": ("POST", "/v1/jobs/retry", {"ids": ["{lost}"]}),
    "resolveJob": ("POST", "/v1/jobs/{unknown}/resolve", {"verdict": "lost", "reason": "why"}),
    "retryImages": ("POST", "/v1/images/retry", {"ids": ["{charged}"]}),
    "createAccount": ("POST", "/v1/accounts", {"id": "new"}),
    "createWebhookSecret": ("PUT", "/v1/accounts/acme/webhook-secret", {}),
    "rotateWebhookSecret": ("POST", "/v1/accounts/acme/webhook-secret/rotate", {}),
    "revokeWebhookSecret": ("POST", "/v1/accounts/acme/webhook-secret/revoke", {}),
    "replayWebhook": ("POST", "/v1/webhooks/{message}/replay", {}),
    "startPause": ("POST", "/v1/pauses", {"scope": "everything", "reason": "why"}),
    "endBrakes": ("POST", "/v1/brakes/end", {"kie_account": "default", "reason": "topped up"}),
    "acknowledgeAlert": ("POST", "/v1/alerts/acknowledge", {"name": "redis_was_wiped"}),
    "routeModel": ("POST", "/v1/models/gpt-4o-image/route", {"via": "4o-image-api"}),
    "resumePause": ("POST", "/v1/pauses/1/resume", {}),
    "endSession": ("POST", "/v1/sessions/{session}/end", {}),
    "pruneData": ("POST", "/v1/retention/prune", {}),
    # The last: a pruned job is not retried.
    "erasePrompts": ("POST", "/v1/accounts/acme/erase-prompts", {"reason": "why"}),
}
"""How each route that changes something is asked to, by staff."""
OF_CUSTOMERS = {"createJob", "createJobs", "uploadFile"}
"""Routes of accounts: jobs are in the ledger and the timeline, files have rows of their own."""


ASKING = {"quoteOrder"}
"""Routes whose body is a question: they change nothing."""


async def test_every_route_by_which_staff_change_something_notes_who_did(
    deployment: Deployment, redis: ArqRedis
) -> None:
    changing = {one.name for one in ENDPOINTS if one.method != "GET"}
    assert changing == set(PLAYS) | OF_CUSTOMERS | ASKING
    await redis.hset(brake_key(DEFAULT_ACCOUNT), mapping={"level": 1, "reason": "account_refused"})  # type: ignore[misc]
    await redis.set(WIPED_KEY, 1_700_000_000_000, ex=60)
    made, key = await KeyStore(deployment.database).create(Role.ADMIN)
    later = datetime.now(UTC) + timedelta(hours=1)
    async with deployment.worker():
        charged = await deployment.ended(await deployment.enqueue())
    setup = DatabaseSetup(deployment.database)
    session = await open_session(deployment)
    failed = await setup.job_in(JobState.FAILED, webhook_url="https://hooks.example/x")
    await add_failed_image(setup, charged)
    await age(setup, (await setup.job_in(JobState.CANCELLED)).id, days=500)
    [message] = (await deployment.producer.job_details(failed.id))["webhooks"]
    ids = {
        "id": (await deployment.enqueue(run_at=later)).id,
        "queued": (await deployment.enqueue(run_at=later)).id,
        "charged": charged.id,
        "failed": failed.id,
        "lost": (await setup.job_in(JobState.FAILED)).id,
        "unknown": (await setup.job_in(JobState.UNKNOWN)).id,
        "message": message["id"],
        "session": session.id,
    }

    def filled(text: str) -> str:
        return reduce(
            lambda text, one: text.replace(f"{{{one[0]}}}", str(one[1])), ids.items(), text
        )

    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        for name, (method, path, body) in PLAYS.items():
            given = orjson.loads(filled(orjson.dumps(body).decode()))
            answer = await api.send(method, filled(path), json=given or None)
            assert answer.status in {200, 201, 202}, (name, answer)
            entry = (await deployment.producer.billing.audit(limit=1))[0]
            assert (entry["actor"], entry["via"]) == (f"api:{made.prefix}", "api"), name
            assert (entry["key_prefix"], entry["key_role"]) == (made.prefix, "admin"), name
