"""The models in the console: the route of each, its choice after a count, and who may choose."""

from __future__ import annotations

import re
from decimal import Decimal

from producer.keys.roles import Role
from tests.acceptance.console.test_console_pauses import hidden_fields
from tests.acceptance.test_http_access import key_of
from tests.support.console_client import browsing
from tests.support.deployment import Deployment, text_to_image
from tests.support.told_by_kie import tell_of_model, tell_of_surprise

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
        assert "<dt>can go by</dt><dd>its own family</dd>" in page
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


async def test_the_page_says_in_words_that_nothing_is_known_yet(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as api, browsing(api, key) as viewer:
        page = (await viewer.get("/console/models")).expect(200)
        prices = (await viewer.get("/console/prices")).expect(200)
    assert "Kie was not asked yet" in page
    assert "Nothing that is not known" in page
    assert "</svg>not asked</span>" in prices


async def tell_of_three_models(deployment: Deployment) -> None:
    """Write a price that moved and a low success rate, a missing part, and a model that is gone."""
    await tell_of_model(
        deployment,
        "gpt-image-2-text-to-image",
        family="gpt-image-2",
        task="text-to-image",
        price_text="6 credits at 1K, 12 at 2K",
        price_credits=[Decimal(6), Decimal(12)],
        success_percent=Decimal("41.5"),
        usual_success_percent=Decimal(98),
    )
    await tell_of_model(
        deployment,
        ROUTE,
        family=ROUTE,
        sold_as=[MODEL],
        task="text-to-image",
        missing_parts=["size 3:2"],
        success_percent=Decimal(99),
        usual_success_percent=Decimal(98),
    )
    await tell_of_model(
        deployment, "flux1-kontext", family="flux1-kontext", task="text-to-image", is_listed=False
    )


async def test_each_model_has_its_prices_and_what_kie_says_of_it(deployment: Deployment) -> None:
    await tell_of_three_models(deployment)
    await tell_of_surprise(deployment, "gpt-image-2", "queuePosition", '{"queuePosition": 4}')
    await deployment.run_sql(
        "UPDATE pricing SET provider_credits = 7, updated_by = 'test'"
        " WHERE model = 'gpt-image-2' AND task = 'text-to-image' AND variant = '1K'"
    )
    key = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as api, browsing(api, key) as viewer:
        page = (await viewer.get("/console/models")).expect(200)
        prices = (await viewer.get("/console/prices")).expect(200)
        price = (await viewer.get("/console/prices/gpt-image-2/text-to-image/1?variant=1K")).expect(
            200
        )
    cards = dict(re.findall(r'<li class="card">.*?<h2>(.*?)</h2>(.*?)</li>', page, re.DOTALL))
    assert set(cards) == {one.name for one in await deployment.producer.models.list()}
    for variant in ("1K", "2K", "4K"):
        assert f"text-to-image/1?variant={variant}" in cards["gpt-image-2"]
    assert "</svg>as known</span>" in cards["gpt-image-2"]
    for model in (MODEL, ROUTE):  # it is sold by either name
        assert "</svg>differs</span>" in cards[model]
    assert "</svg>not listed</span>" in cards["flux1-kontext"]
    assert "</svg>41.5 %</span>" in page, "it is marked, as it is low and below the usual"
    assert "</svg>99 %</span>" not in page
    for text in ("size 3:2", "6 credits at 1K, 12 at 2K", "queuePosition&#34;: 4"):
        assert text in page
    assert '</svg>moved</span><span class="sub">names 6, 12</span>' in price
    assert "6 credits at 1K, 12 at 2K" in price
    for verdict in ("moved", "not confirmed", "not asked"):
        assert f"</svg>{verdict}</span>" in prices, verdict
