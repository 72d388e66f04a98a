"""Each problem of the HTTP guide's table has the status and the members of the table."""

from __future__ import annotations

from typing import Any

import pytest

from producer.keys.roles import Role
from tests.acceptance.test_hostile_input import check_refused, send_raw
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment


def check(answer: ApiResponse, status: int, code: str) -> dict[str, Any]:
    """Fail unless the answer is this problem; return it."""
    problem = check_refused(answer, status)
    assert problem["type"] == f"urn:darkroom:problem:{code}"
    return problem


@pytest.mark.promise(
    *("malformed_request", "key_refused", "insufficient_credits", "forbidden", "job_not_found"),
    *("account_not_found", "price_not_found", "pause_not_found", "session_not_found", "not_found"),
    *(
        "method_not_allowed",
        "idempotency_conflict",
        "too_late_to_cancel",
        "request_too_large",
        "unsupported_content",
    ),
    *("invalid_request", "price_missing", "database_refused"),
    "Nothing is stored if the answer is an error",
)
async def test_what_a_caller_does_wrong_has_its_own_word(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.ADMIN)
    service = await key_of(deployment, Role.SERVICE, "acme")
    await deployment.open_account("poor", 6)
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        placed = (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        await deployment.run_sql(
            "ALTER TABLE accounts ADD CONSTRAINT a_rule_of_the_house CHECK (balance < 100000)"
        )
        before = await deployment.run_sql("SELECT id, state, updated_at FROM jobs")
        await refuse_all(api, placed["id"])
        check(await nobody.get("/v1/jobs"), 401, "key_refused")
        of_others = await nobody.with_key(service).get("/v1/accounts/poor")
        check(of_others, 403, "forbidden")
        assert await deployment.run_sql("SELECT id, state, updated_at FROM jobs") == before
        cancel = f"/v1/jobs/{placed['id']}/cancel"
        (await api.post(cancel)).expect(200)
        problem = check(await api.post(cancel), 409, "too_late_to_cancel")
        assert (problem["job_id"], problem["state"]) == (placed["id"], "cancelled")
        await deployment.run_sql(
            "DELETE FROM pricing WHERE task = 'text-to-image' AND quantity = 4"
        )
        check(await api.post("/v1/jobs", order(quantity=4)), 422, "price_missing")
    assert len(await deployment.run_sql("SELECT id FROM jobs")) == 1


async def refuse_all(api: ApiClient, job_id: str) -> None:
    check(await send_raw(api, b"{"), 400, "malformed_request")
    poor = await api.post("/v1/jobs", order(account_id="poor"))
    problem = check(poor, 402, "insufficient_credits")
    assert (problem["needed"], problem["available"], problem["held"]) == (7, 6, 0)
    check(await api.get(f"/v1/jobs/{'0' * 32}"), 404, "job_not_found")
    check(await api.get("/v1/accounts/nobody"), 404, "account_not_found")
    price = await api.put("/v1/prices/nothing/text-to-image/1", {"credits": 1, "reason": "x"})
    check(price, 404, "price_not_found")
    check(await api.post("/v1/pauses/999/resume"), 404, "pause_not_found")
    check(await api.post("/v1/sessions/999/end"), 404, "session_not_found")
    check(await api.get("/v1/nothing"), 404, "not_found")
    answer = await api.send("DELETE", "/v1/jobs")
    check(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    other = await api.post("/v1/jobs", order(quantity=1), Idempotency_Key="k")
    problem = check(other, 409, "idempotency_conflict")
    assert (problem["job_id"], problem["differs"]) == (job_id, ["quantity"])
    check(await api.post("/v1/jobs", order(prompt="x" * 600_000)), 413, "request_too_large")
    form = await api.send("POST", "/v1/jobs", data="a", headers={"Content-Type": "text/plain"})
    check(form, 415, "unsupported_content")
    problem = check(await api.post("/v1/jobs", order(quantity=3)), 422, "invalid_request")
    assert [set(fault) for fault in problem["errors"]] == [{"field", "message"}]
    grant = await api.post("/v1/accounts/acme/grants", {"credits": 90_001, "reason": "x"})
    assert "a_rule_of_the_house" in check(grant, 422, "database_refused")["detail"]
