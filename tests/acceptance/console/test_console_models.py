"""The models in the console: the route of each, its choice after a count, and who may choose."""

from __future__ import annotations

from producer.keys.key_store import Role
from tests.acceptance.console.test_console_pauses import hidden_fields
from tests.acceptance.test_http_access import key_of
from tests.support.console_client import browsing
from tests.support.deployment import Deployment, text_to_image

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
FORM = f"/console/models/{MODEL}/route"


async def test_a_route_is_chosen_after_a_count_and_taken_back(deployment: Deployment) -> None:
    for request in (text_to_image(), text_to_image(), text_to_image(quantity=2)):
        await deployment.producer.enqueue(request, account_id="acme")
    key = await key_of(deployment, Role.OPERATOR)
    async with deployment.api() as api, browsing(api, key) as operator:
        assert f'<option value="{ROUTE}"' in (await operator.get(FORM)).expect(200)
        asked = (await operator.post(FORM, {"via": ROUTE, "reason": "it answers 404"})).expect(200)
        assert "2 queued jobs" in asked
        assert "1 job that it cannot carry: quantity 1" in asked
        assert "7 credits" in asked
        assert await deployment.run_sql("SELECT FROM model_routes") == []
        done = await operator.post(FORM, hidden_fields(asked))
        assert done.location == "/console/models"
        page = (await operator.get("/console/models")).expect(200)
        assert "it answers 404" in page
        entry = (await deployment.producer.billing.audit(limit=1))[0]
        assert (entry["act"], entry["via"], entry["reason"]) == (
            "model_routed",
            "console",
            "it answers 404",
        )
        back = await operator.post(FORM, {"via": MODEL, "confirmed": "yes"})
        assert back.location == "/console/models"
        refused = (await operator.post(FORM, {"via": "dall-e"})).expect(422)
        assert "allowed: 4o-image-api, gpt-4o-image" in refused
        (await operator.get("/console/models/gpt-5o/route")).expect(404)
    assert await deployment.run_sql("SELECT FROM active_routes") == []


async def test_a_viewer_sees_the_routes_and_changes_none(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as api, browsing(api, key) as viewer:
        page = (await viewer.get("/console/models")).expect(200)
        assert ROUTE in page
        assert FORM not in page
        (await viewer.post(FORM, {"via": ROUTE, "confirmed": "yes"})).expect(403)
    assert await deployment.run_sql("SELECT FROM model_routes") == []
