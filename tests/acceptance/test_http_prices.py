"""Guarded, previewed and scheduled price changes, and refunds, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.support.deployment import Deployment, eventually, text_to_image

PRICE = "/v1/prices/gpt-4o-image/text-to-image/2"
SCHEDULED = "/v1/scheduled-prices"


def change_at(seconds: float = 86_400, **fields: Any) -> dict[str, Any]:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "model": "gpt-4o-image",
        "task": "text-to-image",
        "quantity": 2,
        "credits": 9,
        "takes_effect_at": at.isoformat(),
        "reason": "summer",
        **fields,
    }


async def is_past(deployment: Deployment, scheduled: int) -> bool:
    (row,) = await deployment.run_sql(
        "SELECT takes_effect_at <= now() AS is_past FROM scheduled_prices WHERE id = $1", scheduled
    )
    return bool(row["is_past"])


@pytest.mark.promise("confirmation_needed")
@pytest.mark.promise("A change by more than 5 times is refused with `409`")
async def test_a_slip_is_refused_until_it_is_confirmed(deployment: Deployment) -> None:
    async with deployment.api() as api:
        for credits in (1, 0, 36):
            problem = (await api.put(PRICE, {"credits": credits, "reason": "x"})).expect(409)
            assert problem["type"] == "urn:darkroom:problem:confirmation_needed"
            assert f"from 7 to {credits} is a change of more than 5 times" in problem["detail"]
        slip = {"credits": 7, "provider_credits": 70, "reason": "x"}
        assert "provider_credits" in (await api.put(PRICE, slip)).expect(409)["detail"]
        body = {"credits": 1, "reason": "x", "confirm": "yes"}
        assert set((await api.put(PRICE, body)).faults()) == {"confirm"}
        done = (await api.put(PRICE, {**body, "confirm": True})).expect(200)
    assert done["credits"] == 1


@pytest.mark.promise("price_changed")
@pytest.mark.promise("the change is refused with `409` if somebody else")
async def test_a_change_from_a_version_that_is_not_in_force_is_refused(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api:
        read = (await api.get(f"{PRICE}/preview", credits=9)).expect(200)["price_id"]
        other = (await api.put(PRICE, {"credits": 8, "reason": "x"})).expect(200)
        change = {"credits": 9, "reason": "x", "price_id": read}
        problem = (await api.put(PRICE, change)).expect(409)
        assert problem["type"] == "urn:darkroom:problem:price_changed"
        assert f"{other['updated_by']} changed it at" in problem["detail"]
        assert "it is 8 credits now and Kie charges 7; nothing was changed" in problem["detail"]
        for wrong in (0, -1, "2", 1.5, True):
            assert set((await api.put(PRICE, {**change, "price_id": wrong})).faults()) == {
                "price_id"
            }
        done = (await api.put(PRICE, {**change, "price_id": other["price_id"]})).expect(200)
        assert done["credits"] == 9


@pytest.mark.promise("is refused, and not rounded")
@pytest.mark.parametrize("number", [6.123456, 7.001, 0.125])
async def test_more_decimals_than_two_are_refused(deployment: Deployment, number: float) -> None:
    async with deployment.api() as api:
        body = {"credits": number, "provider_credits": number, "reason": "x"}
        assert set((await api.put(PRICE, body)).faults()) == {"credits", "provider_credits"}
        (await api.get(f"{PRICE}/preview", credits=number)).expect(422)
        faults = (await api.post(SCHEDULED, change_at(credits=number))).faults()
        assert set(faults) == {"credits"}


async def test_a_price_with_variants_is_named_by_its_variant(deployment: Deployment) -> None:
    await deployment.add_prices("painter", "paint", {"1K": 5, "2K": 9, "4K": 20})
    path = "/v1/prices/painter/paint/1"
    async with deployment.api() as api:
        listed = (await api.get("/v1/prices")).expect(200)["prices"]
        assert [one["variant"] for one in listed if one["model"] == "painter"] == ["1K", "2K", "4K"]
        preview = (await api.get(f"{path}/preview", variant="2K", credits=10)).expect(200)
        assert (preview["variant"], preview["credits_before"]) == ("2K", 9)
        change = {"credits": 10, "reason": "x"}
        done = (await api.put(f"{path}?variant=2K", change)).expect(200)
        assert (done["variant"], done["credits"]) == ("2K", 10)
        for query in ("", "?variant=", "?variant=2k", "?variant=%202K", "?variant=8K"):
            problem = (await api.put(f"{path}{query}", change)).expect(404)
            assert "priced are: painter paint 1 1K, painter paint 1 2K" in problem["detail"], query
        assert set((await api.put(f"{path}?variant={'x' * 41}", change)).faults()) == {"variant"}
        (await api.put(f"{PRICE}?variant=2K", {"credits": 9, "reason": "x"})).expect(404)
        order = change_at(model="painter", task="paint", quantity=1, credits=22, variant="4K")
        assert (await api.post(SCHEDULED, order)).expect(200)["variant"] == "4K"
        (await api.post(SCHEDULED, {**order, "variant": "8K"})).expect(404)
        version = (await api.get("/v1/prices/history", limit=1)).expect(200)["versions"][0]
    assert (version["variant"], version["credits"]) == ("2K", 10)


async def test_what_kie_charges_is_changed_with_a_history(deployment: Deployment) -> None:
    async with deployment.api() as api:
        body = {"credits": 9, "provider_credits": 7.5, "reason": "Kie raised it"}
        assert (await api.put(PRICE, body)).expect(200)["provider_credits"] == 7.5
        newest = (await api.get("/v1/prices/history", limit=1)).expect(200)["versions"][0]
    assert (newest["provider_credits"], newest["reason"]) == (7.5, "Kie raised it")
    assert newest["valid_to"] is None


async def test_a_typo_is_answered_with_the_prices_that_exist(deployment: Deployment) -> None:
    async with deployment.api() as api:
        for path in ("gpt4o-image/text-to-image/2", "gpt-4o-image/text2image/2"):
            for send in (
                api.put(f"/v1/prices/{path}", {"credits": 9, "reason": "x"}),
                api.get(f"/v1/prices/{path}/preview", credits=9),
            ):
                problem = (await send).expect(404)
                assert "priced are: gpt-4o-image image-to-image 1," in problem["detail"]
        problem = (await api.post(SCHEDULED, change_at(model="gpt4o"))).expect(404)
        assert "priced are: gpt-4o-image image-to-image 1," in problem["detail"]


async def test_a_request_whose_variant_has_no_price_is_refused_with_what_is_priced(
    deployment: Deployment,
) -> None:
    await deployment.run_sql(
        "DELETE FROM pricing WHERE (model, task, variant) = ('gpt-image-2', 'text-to-image', '4K')"
    )
    order = {"account_id": "acme", "model": "gpt-image-2", "task": "text-to-image", "prompt": "x"}
    async with deployment.api() as api:
        wide = {**order, "aspect_ratio": "16:9", "resolution": "4K"}
        for sent in (
            api.post("/v1/jobs", wide),
            api.post("/v1/jobs/batch", {"jobs": [order, wide]}),
        ):
            problem = (await sent).expect(422)
            assert problem["type"] == "urn:darkroom:problem:price_missing"
            assert problem["detail"].startswith(
                "no price for model 'gpt-image-2', task 'text-to-image', quantity 1, variant '4K';"
                " an admin must insert that row into pricing; priced are: gpt-image-2"
            )
        job = (await api.post("/v1/jobs", {**wide, "resolution": "2K"})).expect(202)
        assert (job["variant"], job["credits_quoted"]) == ("2K", 10)
        assert (await api.get(f"/v1/jobs/{job['id']}")).expect(200)["variant"] == "2K"
        assert (await api.get("/v1/accounts/acme")).expect(200)["held"] == 10


async def test_a_preview_shows_what_a_change_would_touch_and_changes_nothing(
    deployment: Deployment,
) -> None:
    async with deployment.worker():
        await deployment.ended(await deployment.enqueue(text_to_image(quantity=2)))
    await deployment.enqueue(text_to_image(quantity=2))
    async with deployment.api() as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        preview = (await api.get(f"{PRICE}/preview", credits=5, provider_credits=8)).expect(200)
        after = (await api.get("/v1/prices")).expect(200)["prices"]
    assert set(preview) == set(schemas["PricePreview"]["properties"])
    assert {
        name: preview[name] for name in ("open_jobs", "credits_held", "open_jobs_repriced")
    } == {
        "open_jobs": 1,
        "credits_held": 7,
        "open_jobs_repriced": 1,
    }
    assert (preview["open_jobs_effect"], preview["revenue_effect_per_7_days"]) == (-2, -2)
    assert (preview["jobs_last_7_days"], preview["margin"]) == (1, -3)
    assert preview["warnings"] == ["the price of 5 is below the 8 that Kie charges"]
    assert preview["needs_confirmation"] is False
    assert {one["credits"] for one in after if one["model"] == "gpt-4o-image"} == {6, 7, 8}


@pytest.mark.promise("Until then it can be revoked.")
@pytest.mark.promise("already_exists")
@pytest.mark.promise("scheduled_price_not_found")
@pytest.mark.promise("scheduled_price_ended")
async def test_a_change_is_scheduled_shown_and_revoked_until_it_holds(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        made = (await api.post(SCHEDULED, change_at())).expect(200)
        same = {"takes_effect_at": made["takes_effect_at"], "credits": 8}
        problem = (await api.post(SCHEDULED, change_at(**same))).expect(409)
        assert problem["type"] == "urn:darkroom:problem:already_exists"
        soon = (await api.post(SCHEDULED, change_at(1.5, credits=8))).expect(200)
        assert set(made) == set(schemas["ScheduledPrice"]["properties"])
        (await api.post(f"{SCHEDULED}/{made['id']}/revoke", None)).expect(200)
        again = (await api.post(f"{SCHEDULED}/{made['id']}/revoke", None)).expect(200)
        assert again["is_revoked"] is True
        problem = (await api.post(f"{SCHEDULED}/4711/revoke", None)).expect(404)
        assert problem["type"] == "urn:darkroom:problem:scheduled_price_not_found"
        (await api.post(f"{SCHEDULED}/%00/revoke", None)).expect(404)
        for wrong in ({"takes_effect_at": "tomorrow"}, {"reason": " "}, {"quantity": 0}):
            assert set((await api.post(SCHEDULED, change_at(**wrong))).faults()) == set(wrong)
        (await api.post(SCHEDULED, change_at(-5))).expect(422)
        (await api.post(SCHEDULED, change_at(credits=1))).expect(409)
        (await api.post(SCHEDULED, change_at(credits=1, confirm=True))).expect(200)
        # Nobody applies it until somebody prices a job: there is no worker.
        await eventually(lambda: is_past(deployment, soon["id"]), "its time has come")
        job = await deployment.enqueue(text_to_image(quantity=2))
        assert job.credits_quoted == 8
        problem = (await api.post(f"{SCHEDULED}/{soon['id']}/revoke", None)).expect(409)
        assert problem["type"] == "urn:darkroom:problem:scheduled_price_ended"
        listed = (await api.get(SCHEDULED)).expect(200)["scheduled_prices"]
    outcomes = {one["id"]: (one["is_revoked"], one["price_id"] is not None) for one in listed}
    assert outcomes[made["id"]] == (True, False)
    assert outcomes[soon["id"]] == (False, True)


@pytest.mark.promise("refund_too_large")
@pytest.mark.promise("already_refunded")
async def test_a_charge_is_given_back_once(deployment: Deployment) -> None:
    made, key = await KeyStore(deployment.database).create(Role.ADMIN)
    async with deployment.worker():
        job = await deployment.ended(await deployment.enqueue())
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        refund = f"/v1/jobs/{job.id}/refund"
        assert set((await api.post(refund, {"credits": 1})).faults()) == {"reason"}
        problem = (await api.post(refund, {"credits": 7, "reason": "x"})).expect(409)
        assert problem["type"] == "urn:darkroom:problem:refund_too_large"
        assert set((await api.post(refund, {"credits": 0, "reason": "x"})).faults()) == {"credits"}
        entry = (await api.post(refund, {"credits": 2.5, "reason": "blurred"})).expect(200)
        assert (entry["kind"], entry["job_id"], entry["credits"]) == (
            "adjustment",
            str(job.id),
            2.5,
        )
        assert entry["granted_by"] == f"api:{made.prefix}"
        problem = (await api.post(refund, {"reason": "again"})).expect(409)
        assert problem["type"] == "urn:darkroom:problem:already_refunded"
        (await api.post(f"/v1/jobs/{uuid4()}/refund", {"reason": "x"})).expect(404)
        ledger = (await api.get("/v1/accounts/acme/ledger")).expect(200)["entries"]
    assert (ledger[0]["id"], ledger[0]["granted_by"]) == (entry["id"], f"api:{made.prefix}")
    assert {one["granted_by"] for one in ledger if one["kind"] == "capture"} == {None}
    await deployment.check_invariants_hold()


async def test_only_an_admin_changes_and_only_staff_sees_everybodys_money(
    deployment: Deployment,
) -> None:
    keys = KeyStore(deployment.database)
    async with deployment.api() as nobody:
        for role, account in ((Role.VIEWER, None), (Role.OPERATOR, None), (Role.SERVICE, "acme")):
            api = nobody.with_key((await keys.create(role, account))[1])
            for path, body in (
                (SCHEDULED, change_at()),
                (f"{SCHEDULED}/1/revoke", None),
                (f"/v1/jobs/{uuid4()}/refund", {"reason": "x"}),
            ):
                assert (await api.post(path, body)).status == 403
            sees = 403 if role is Role.SERVICE else 200
            for path in ("/v1/accounts", "/v1/margin", SCHEDULED, "/v1/prices/history"):
                assert (await api.get(path)).status == sees, (role, path)
            assert (await api.get("/v1/accounts/acme/statement")).status == 200
        await deployment.producer.billing.create_account("other")
        for path in ("statement", "statement.csv", "ledger"):
            assert (await api.get(f"/v1/accounts/other/{path}")).status == 403
