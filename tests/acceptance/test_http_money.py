"""Prices, accounts and the ledger over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.acceptance.test_http_jobs import order
from tests.support.deployment import Deployment

_PRICE = "/v1/prices/gpt-4o-image/text-to-image/2"


async def test_prices_are_listed_as_they_stand(deployment: Deployment) -> None:
    async with deployment.api() as api:
        prices = (await api.get("/v1/prices")).expect(200)["prices"]
    found = {
        (one["model"], one["task"], one["quantity"], one["variant"]): one["credits"]
        for one in prices
    }
    rows = await deployment.run_sql("SELECT * FROM pricing")
    assert found == {
        (row["model"], row["task"], row["quantity"], row["variant"]): row["credits"] for row in rows
    }
    assert len(found) == len(prices)
    tasks = ("text-to-image", "image-to-image")
    assert (
        found.items()
        >= {
            **{
                ("gpt-4o-image", task, quantity, ""): credits
                for task in tasks
                for quantity, credits in ((1, 6), (2, 7), (4, 8))
            },
            **{
                ("gpt-image-2", task, 1, variant): credits
                for task in tasks
                for variant, credits in (("1K", 6), ("2K", 10), ("4K", 16))
            },
        }.items()
    )


async def test_a_price_change_holds_from_the_next_settlement_and_says_who_and_why(
    deployment: Deployment,
) -> None:
    made, key = await KeyStore(deployment.database).create(Role.ADMIN)
    async with deployment.api() as nobody, deployment.worker():
        api = nobody.with_key(key)
        changed = (await api.put(_PRICE, {"credits": 9.5, "reason": " dearer "})).expect(200)
        assert changed["credits"] == 9.5
        job = (await api.post("/v1/jobs", order())).expect(202)
        ended = (await api.get(f"/v1/jobs/{job['id']}", wait=30)).expect(200)
    assert ended["credits_charged"] == 9.5
    (version,) = await deployment.run_sql(
        "SELECT changed_by, reason FROM pricing_history WHERE id = $1", changed["price_id"]
    )
    assert version == {"changed_by": f"api:{made.prefix}", "reason": "dearer"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"credits", "reason"}),
        ({"credits": -1, "reason": "x"}, {"credits"}),
        ({"credits": 1_000_001, "reason": "x"}, {"credits"}),
        ({"credits": "9", "reason": "x"}, {"credits"}),
        ({"credits": True, "reason": " "}, {"credits", "reason"}),
        ({"credits": 9, "reason": "x" * 501}, {"reason"}),
        ({"credits": 9, "reason": "x", "quantity": 2}, {"quantity"}),
    ],
)
async def test_a_price_that_makes_no_sense_is_refused(
    deployment: Deployment, body: dict[str, Any], fields: set[str]
) -> None:
    async with deployment.api() as api:
        assert set((await api.put(_PRICE, body)).faults()) == fields


@pytest.mark.parametrize(
    "path", ["a/b/1", "gpt-4o-image/text-to-image/3", "a/b/0", "a/b/x", "%00/b/1"]
)
async def test_a_price_that_is_not_there_is_404(deployment: Deployment, path: str) -> None:
    async with deployment.api() as api:
        (await api.put(f"/v1/prices/{path}", {"credits": 1, "reason": "x"})).expect(404)


async def test_an_account_shows_what_is_left(deployment: Deployment) -> None:
    async with deployment.api() as api:
        (await api.post("/v1/jobs", order())).expect(202)
        account = (await api.get("/v1/accounts/acme")).expect(200)
        (await api.get("/v1/accounts/nobody")).expect(404)
        (await api.get("/v1/accounts/%00")).expect(404)
    assert (account["balance"], account["held"], account["available"]) == (10_000, 7, 9_993)


async def test_a_grant_is_an_entry_of_the_ledger(deployment: Deployment) -> None:
    async with deployment.api() as api:
        grants = "/v1/accounts/acme/grants"
        account = (await api.post(grants, {"credits": 2.5, "reason": "gift"})).expect(200)
        assert account["balance"] == 10_002.5
        (await api.post(grants, {"credits": -0.5, "reason": "oops"})).expect(200)
        first = (await api.get("/v1/accounts/acme/ledger", limit=1)).expect(200)
        rest = (
            await api.get("/v1/accounts/acme/ledger", limit=5, cursor=first["next_cursor"])
        ).expect(200)
        assert set((await api.post(grants, {"credits": 0, "reason": "x"})).faults()) == {"credits"}
        assert (
            await api.post("/v1/accounts/nobody/grants", {"credits": 1, "reason": "x"})
        ).status == 404
    entries = [*first["entries"], *rest["entries"]]
    assert rest["next_cursor"] is None
    assert [(one["kind"], one["credits"], one["reason"]) for one in entries] == [
        ("adjustment", -0.5, "oops"),
        ("grant", 2.5, "gift"),
        ("grant", 10_000, "for the test"),
    ]


@pytest.mark.promise("Another amount or reason is `409`")
async def test_a_grant_with_a_used_key_gets_the_first_entry_again(deployment: Deployment) -> None:
    path, body = "/v1/accounts/acme/grants", {"credits": 5, "reason": "invoice 17"}
    async with deployment.api() as api:
        first, again = [await api.post(path, body, Idempotency_Key="i-17") for _ in range(2)]
        assert first.expect(200) == again.expect(200)
        assert first.headers.get("Idempotent-Replayed") is None
        assert again.headers["Idempotent-Replayed"] == "true"
        listed = (await api.get("/v1/accounts/acme/ledger")).expect(200)["entries"]
        assert listed[0].items() >= first.expect(200)["entry"].items()
        for name, value in (("credits", 6), ("reason", "invoice 18")):
            other = await api.post(path, {**body, name: value}, Idempotency_Key="i-17")
            assert other.expect(409)["detail"].endswith(
                f"differs in: {name}; use a new key for a new grant"
            )


@pytest.mark.parametrize("name", ["idempotency_key", "Idempotency-Key", "idempotencyKey"])
async def test_a_key_in_a_body_is_told_to_be_a_header(deployment: Deployment, name: str) -> None:
    sentence = "is no field of a body: send it in the header Idempotency-Key"
    async with deployment.api() as api:
        for path, body, field in (
            ("/v1/jobs", {**order(), name: "k"}, name),
            ("/v1/jobs/batch", {"jobs": [order()], name: "k"}, name),
            ("/v1/jobs/batch", {"jobs": [{**order(), name: "k"}]}, f"jobs.0.{name}"),
            ("/v1/accounts/acme/grants", {"credits": 1, "reason": "why", name: "k"}, name),
        ):
            refused = (await api.post(path, body)).expect(422)
            assert refused["errors"] == [{"field": field, "message": sentence}], path
