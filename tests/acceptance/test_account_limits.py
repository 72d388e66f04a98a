"""Limits of an account over HTTP: who sets them, who sees them, and what is refused by them."""

from __future__ import annotations

from typing import Any

import pytest

from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.acceptance.test_problems import check
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment

ACCOUNT = "/v1/accounts/acme"
LIMITS: dict[str, Any] = {
    "weight": 2.5,
    "max_open_jobs": 7,
    "max_queued_jobs": 2,
    "max_credits_per_day": 19.5,
    "max_priority": "normal",
}


async def patch(api: ApiClient, body: Any) -> ApiResponse:
    return await api.send("PATCH", ACCOUNT, json=body)


async def test_an_operator_sets_limits_which_the_account_sees_and_cannot_change(
    deployment: Deployment,
) -> None:
    operator, service = (
        await key_of(deployment, Role.OPERATOR),
        await key_of(deployment, Role.SERVICE, "acme"),
    )
    async with deployment.api() as nobody:
        api, own = nobody.with_key(operator), nobody.with_key(service)
        changed = (await patch(api, {**LIMITS, "reason": "a contract"})).expect(200)
        assert changed.items() >= {**LIMITS, "credits_today": 0}.items()
        assert (await own.get(ACCOUNT)).expect(200) == changed
        check(await patch(own, {"weight": 3}), 403, "forbidden")
        whole = {"max_queued_jobs": 2.0, "max_open_jobs": 7.0}  # whole numbers in JSON
        assert (await patch(api, whole)).expect(200) == changed
        lifted = (await patch(api, {"max_queued_jobs": None})).expect(200)
        assert lifted == {**changed, "max_queued_jobs": None}
        for bad, fields in (
            ({"weight": 0, "max_open_jobs": "7"}, {"weight", "max_open_jobs"}),
            ({"max_priority": "urgent", "reason": " "}, {"max_priority", "reason"}),
            ({"maximum": 1}, {"maximum"}),
            ({"weight": None}, {"weight"}),
            ({"reason": "no limit"}, {""}),
        ):
            assert (await patch(api, bad)).faults().keys() == fields
        assert (await own.get(ACCOUNT)).expect(200) == lifted
        auditor = nobody.with_key(await key_of(deployment, Role.ADMIN))
        (entry, *_) = (await auditor.get("/v1/audit", act="account_limits_changed")).body["entries"]
        assert (entry["before"], entry["after"]) == (
            *({"max_queued_jobs": 2}, {"max_queued_jobs": None}),
        )


@pytest.mark.promise(
    *("A new job beyond `max_queued_jobs`", "A batch beyond a limit is refused as a whole"),
    "A repeated `Idempotency-Key` is never refused by a limit",
    *("queue_limit_reached", "daily_limit_reached"),
)
async def test_what_exceeds_a_limit_is_429_with_the_numbers_and_nothing_is_stored(
    deployment: Deployment,
) -> None:
    service = await key_of(deployment, Role.SERVICE, "acme")
    await deployment.producer.set_account_limits("acme", max_queued_jobs=2)
    async with deployment.api() as nobody:
        api = nobody.with_key(service)
        (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        two = {"jobs": [order(), order()]}
        answer = await api.post("/v1/jobs/batch", two)
        problem = check(answer, 429, "queue_limit_reached")
        assert numbers(problem) == ("max_queued_jobs", 2, 1, 2)
        assert answer.headers["Retry-After"] == "1"
        placed = (await api.post("/v1/jobs", order())).expect(202)
        check(await api.post("/v1/jobs", order()), 429, "queue_limit_reached")
        (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        limits: dict[str, Any] = {"max_queued_jobs": None, "max_credits_per_day": 20}
        await deployment.producer.set_account_limits("acme", **limits)
        answer = await api.post("/v1/jobs", order())  # 7 credits, as each of those before
        problem = check(answer, 429, "daily_limit_reached")
        assert numbers(problem) == ("max_credits_per_day", 20, 14, 7)
        assert problem["resets_at"].endswith("T00:00:00Z")
        assert 0 < int(answer.headers["Retry-After"]) <= 86_400
        (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        (await api.post(f"/v1/jobs/{placed['id']}/cancel")).expect(200)
        (await api.post("/v1/jobs", order())).expect(202)
    assert len(await deployment.run_sql("SELECT id FROM jobs")) == 3


def numbers(problem: dict[str, Any]) -> tuple[str, float, float, float]:
    return problem["limit"], problem["allowed"], problem["used"], problem["asked"]


@pytest.mark.promise(
    "A service key that names a priority above `max_priority` gets `403`",
    "priority_not_allowed",
)
async def test_a_priority_above_the_highest_is_403_for_service_keys_alone(
    deployment: Deployment,
) -> None:
    admin, service = (
        await key_of(deployment, Role.ADMIN),
        await key_of(deployment, Role.SERVICE, "acme"),
    )
    await deployment.producer.set_account_limits("acme", max_priority="low")
    async with deployment.api() as nobody:
        api, own = nobody.with_key(admin), nobody.with_key(service)
        assert (await own.post("/v1/jobs", order())).expect(202)["priority"] == "low"
        for asked in ("high", "normal"):
            problem = check(
                await own.post("/v1/jobs", order(priority=asked)), 403, "priority_not_allowed"
            )
            assert [fault["field"] for fault in problem["errors"]] == ["priority"]
            assert (problem["limit"], problem["allowed"]) == ("max_priority", "low")
        batch = {
            "jobs": [
                order(),
                order(priority="high"),
                order(priority="low"),
                order(priority="normal"),
            ]
        }
        problem = check(await own.post("/v1/jobs/batch", batch), 403, "priority_not_allowed")
        assert [fault["field"] for fault in problem["errors"]] == [
            *("jobs.1.priority", "jobs.3.priority"),
        ]
        for_acme = order(priority="high", account_id="acme")
        assert (await api.post("/v1/jobs", for_acme)).expect(202)["priority"] == "high"
    assert len(await deployment.run_sql("SELECT id FROM jobs")) == 2
