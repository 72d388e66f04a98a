"""Models and their routes over HTTP: listed, tried, chosen, refused, and taken back."""

from __future__ import annotations

import pytest

from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.support.deployment import Deployment

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
PATH = f"/v1/models/{MODEL}/route"


async def test_a_route_is_tried_chosen_and_taken_back(deployment: Deployment) -> None:
    async with deployment.api() as api:
        (await api.post("/v1/jobs", order(quantity=1))).expect(202)
        tried = (await api.post(PATH, {"via": ROUTE, "dry_run": True})).expect(200)
        assert (tried["dry_run"], tried["model"]["via"]) == (True, MODEL)
        assert (tried["queued"]["carried"], tried["queued"]["waiting"]) == (1, 0)
        body = {"via": ROUTE, "reason": "it is gone"}
        chosen = (await api.post(PATH, body)).expect(200)
        assert (await api.post(PATH, body)).expect(200) == chosen
        listed = (await api.get("/v1/models")).expect(200)["models"]
        assert [one for one in listed if one["model"] == MODEL] == [chosen["model"]]
        assert (chosen["model"]["via"], chosen["model"]["reason"]) == (ROUTE, "it is gone")
        refused = await api.post("/v1/jobs", order(quantity=2))
        assert set(refused.faults()) == {"quantity"}
        back = (await api.post(PATH, {"via": MODEL})).expect(200)
        assert (back["model"]["via"], back["model"]["routed_by"]) == (MODEL, "api:loopback")
        (await api.post("/v1/jobs", order(quantity=2))).expect(202)


@pytest.mark.parametrize(
    ("model", "body", "status", "field"),
    [
        ("gpt-5o", {"via": ROUTE}, 404, None),
        (MODEL, {"via": "dall-e"}, 422, "via"),
        (MODEL, {"via": 4}, 422, "via"),
        (MODEL, {}, 422, "via"),
        (MODEL, {"via": ROUTE, "reason": " "}, 422, "reason"),
        (MODEL, {"via": ROUTE, "dry_run": "yes"}, 422, "dry_run"),
    ],
)
async def test_a_choice_that_cannot_be_is_refused_by_its_field(
    deployment: Deployment, model: str, body: dict[str, object], status: int, field: str | None
) -> None:
    async with deployment.api() as api:
        answer = await api.post(f"/v1/models/{model}/route", body)
        assert answer.status == status
        if field is not None:
            assert set(answer.faults()) == {field}


async def test_a_service_sees_no_routes_and_a_viewer_changes_none(deployment: Deployment) -> None:
    service = await key_of(deployment, Role.SERVICE, "acme")
    viewer = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as nobody:
        (await nobody.with_key(viewer).get("/v1/models")).expect(200)
        (await nobody.with_key(service).get("/v1/models")).expect(403)
        (await nobody.with_key(viewer).post(PATH, {"via": ROUTE})).expect(403)
