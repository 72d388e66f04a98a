"""The pages of prices: preview, change, schedule, revoke, and what each says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.support.api_client import ApiClient
from tests.support.console_client import ConsoleAnswer, ConsoleClient, browsing
from tests.support.deployment import Deployment, text_to_image

PRICE = "/console/prices/gpt-4o-image/text-to-image/2"
CHANGE = f"{PRICE}/change"
_HIDDEN = re.compile(r'name="previewed" value="([^"]*)"')


@dataclass
class AdminBrowser:
    """An admin's browser."""

    deployment: Deployment
    api: ApiClient
    browser: ConsoleClient
    prefix: str

    async def send(self, answer: ConsoleAnswer | None, **fields: str) -> ConsoleAnswer:
        """Send the form of a price, with what the preview before has hidden in it."""
        found = _HIDDEN.search(answer.text) if answer is not None else None
        hidden = {"previewed": found[1]} if found else {}
        return await self.browser.post(CHANGE, {**hidden, **fields})

    async def price(self) -> dict[str, Any]:
        """Return the price."""
        return await self.deployment.producer.billing.price("gpt-4o-image", "text-to-image", 2)


@pytest.fixture
async def admin(deployment: Deployment) -> AsyncIterator[AdminBrowser]:
    key = await key_of(deployment, Role.ADMIN)
    async with deployment.api() as api, browsing(api, key) as browser:
        yield AdminBrowser(deployment, api, browser, key[:15])


async def test_a_price_is_previewed_and_then_changed_with_who_and_why(admin: AdminBrowser) -> None:
    await admin.deployment.enqueue(text_to_image(quantity=2))
    fields = {"credits": "9", "reason": "Kie raised it"}
    preview = await admin.send(None, **fields)
    text = preview.expect(200)
    assert "Nothing is changed yet" in text
    assert "of 1, which hold 7: +2 credits" in text
    assert (await admin.price())["credits"] == 7
    done = await admin.send(preview, **fields)
    assert done.location == PRICE
    shown = (await admin.browser.get(PRICE)).expect(200)
    assert "The new price is 9, from the next settlement." in shown
    assert "Kie raised it" in shown
    assert (await admin.price())["updated_by"] == f"console:{admin.prefix}"
    entry = (await admin.deployment.producer.billing.audit(limit=1))[0]
    assert (entry["act"], entry["via"], entry["reason"]) == (
        "price_changed",
        "console",
        "Kie raised it",
    )
    assert entry["before"]["credits"] == 7
    assert entry["after"]["credits"] == 9


async def test_a_price_with_variants_is_changed_by_itself(admin: AdminBrowser) -> None:
    prices = {"1K": 5, "2K": 9, "a&b/ü": 20}
    await admin.deployment.add_prices("painter", "paint", prices)
    listed = (await admin.browser.get("/console/prices")).expect(200)
    for variant, price in prices.items():
        path = f"/console/prices/painter/paint/1?variant={quote(variant)}"
        assert f'href="{path}"' in listed
        change = path.replace("?", "/change?")
        shown = (await admin.browser.get(path)).expect(200)
        assert f" 1 · {escape(variant)}<" in shown
        assert f'href="{change}"' in shown
        fields = {"credits": str(price + 1), "reason": "x"}
        preview = await admin.browser.post(change, fields)
        assert f'action="{change}"' in preview.expect(200)
        hidden = _HIDDEN.search(preview.text)
        assert hidden is not None
        done = await admin.browser.post(change, {**fields, "previewed": hidden[1]})
        assert done.location == path
    rows = await admin.deployment.producer.billing.prices()
    charged = {row["variant"]: row["credits"] for row in rows if row["model"] == "painter"}
    assert charged == {variant: credits + 1 for variant, credits in prices.items()}
    for unknown in ("", "?variant=2k"):
        (await admin.browser.get(f"/console/prices/painter/paint/1{unknown}")).expect(404)


async def test_what_was_not_previewed_is_not_changed(admin: AdminBrowser) -> None:
    preview = await admin.send(None, credits="9", reason="x")
    again = await admin.send(preview, credits="10", reason="x")
    assert "Nothing is changed yet" in again.expect(200)
    forged = await admin.browser.post(
        CHANGE, {"credits": "9", "reason": "x", "previewed": "8 None None"}
    )
    assert "Nothing is changed yet" in forged.expect(200)
    assert (await admin.price())["credits"] == 7


async def test_a_price_that_somebody_else_changed_since_is_previewed_again(
    admin: AdminBrowser,
) -> None:
    fields = {"credits": "9", "reason": "x"}
    preview = await admin.send(None, **fields)
    await admin.deployment.run_sql("UPDATE pricing SET credits = 12 WHERE quantity = 2")
    again = await admin.send(preview, **fields)
    text = again.expect(200)
    assert "Somebody changed the price since your preview" in text
    assert "set it to 12." in text
    assert (await admin.price())["credits"] == 12
    assert (await admin.send(again, **fields)).location == PRICE
    assert (await admin.price())["credits"] == 9


async def test_a_form_that_is_sent_twice_changes_the_price_once(admin: AdminBrowser) -> None:
    fields = {"credits": "9", "reason": "x"}
    preview = await admin.send(None, **fields)
    sent = await asyncio.gather(*(admin.send(preview, **fields) for _ in range(3)))
    assert [one.location for one in sent if one.status == 303]
    assert (await admin.send(preview, **fields)).location == PRICE
    assert "The price is 9 already" in (await admin.browser.get(PRICE)).expect(200)
    versions = await admin.deployment.run_sql(
        "SELECT credits FROM pricing_history WHERE model = 'gpt-4o-image'"
        " AND task = 'text-to-image' AND quantity = 2 ORDER BY id"
    )
    assert [row["credits"] for row in versions] == [7, 9]


async def test_a_change_of_more_than_5_times_wants_a_second_confirmation(
    admin: AdminBrowser,
) -> None:
    for credits in ("1", "0", "36"):
        fields = {"credits": credits, "reason": "x"}
        preview = await admin.send(None, **fields)
        assert f"Credits from 7 to {credits} is a change of more than 5 times" in preview.expect(
            200
        )
        unconfirmed = await admin.send(preview, **fields)
        assert "Check this if it is meant." in unconfirmed.expect(200)
        assert (await admin.price())["credits"] == 7
    done = await admin.send(unconfirmed, **fields, confirm="yes")
    assert done.location == PRICE
    assert (await admin.price())["credits"] == 36


async def test_a_price_below_kies_charge_is_warned_of(admin: AdminBrowser) -> None:
    preview = await admin.send(None, credits="6", provider_credits="8.5", reason="x")
    assert "The price of 6 is below the 8.5 that Kie charges" in preview.expect(200)
    done = await admin.send(preview, credits="6", provider_credits="8.5", reason="x")
    assert done.location == PRICE
    assert (await admin.price())["provider_credits"] == Decimal("8.5")
    assert "loss -2.5" in (await admin.browser.get("/console/prices")).expect(200)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"credits": "6.123456", "reason": "x"}, "with at most 2 decimals"),
        ({"credits": "-1", "reason": "x"}, "must be a number from 0"),
        ({"credits": "", "reason": "x"}, "must be a number from 0"),
        ({"credits": "9", "provider_credits": "x", "reason": "x"}, "must be a number from 0"),
        ({"credits": "9", "reason": "  "}, "say why"),
        ({"credits": "9", "reason": "x" * 501}, "say why"),
        ({"credits": "9", "reason": "x", "at": "2001-01-01T00:00"}, "must be a time to come"),
        ({"credits": "9", "reason": "x", "at": "soon"}, "must be a time to come"),
    ],
)
async def test_a_form_that_is_wrong_says_where(
    admin: AdminBrowser, fields: Mapping[str, str], sentence: str
) -> None:
    answer = await admin.send(None, **fields)
    assert sentence in answer.expect(422)
    assert 'aria-invalid="true"' in answer.text
    assert (await admin.price())["credits"] == 7


async def test_a_change_is_scheduled_shown_and_revoked(admin: AdminBrowser) -> None:
    at = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M}"
    fields = {"credits": "9", "reason": "new year", "at": at}
    preview = await admin.send(None, **fields)
    assert "It takes hold at" in preview.expect(200)
    done = await admin.send(preview, **fields)
    assert done.location == PRICE
    for path in ("/console/prices", PRICE):
        text = (await admin.browser.get(path)).expect(200)
        assert "new year" in text
        assert "waits" in text
    (row,) = await admin.deployment.producer.billing.price_changes.list_scheduled(
        limit=9, with_settled=True
    )
    assert row["scheduled_by"] == f"console:{admin.prefix}"
    revoked = await admin.browser.post(f"/console/scheduled-prices/{row['id']}/revoke")
    assert revoked.location == PRICE
    assert "revoked" in (await admin.browser.get(PRICE)).expect(200)
    for number in ("4711", "x", "9" * 30):
        (await admin.browser.post(f"/console/scheduled-prices/{number}/revoke")).expect(404)


async def test_the_plot_of_a_price_steps_at_each_version(admin: AdminBrowser) -> None:
    for credits in ("9", "8"):
        await admin.deployment.run_sql(
            "UPDATE pricing SET credits = $1 WHERE quantity = 2", Decimal(credits)
        )
    text = (await admin.browser.get(PRICE)).expect(200)
    (plot,) = re.findall(r'data-plot="([^"]+)"', text)
    data = orjson.loads(plot.replace("&#34;", '"').replace("&#39;", "'"))
    charged, cost = data["series"]
    assert charged["values"] == [7, 9, 8, 8]
    assert cost["values"] == [7, 7, 7, 7]
    assert charged["steps"] is True
    assert data["times"] == sorted(data["times"])


async def test_a_price_that_does_not_exist_is_404(admin: AdminBrowser) -> None:
    for path in ("gpt4o/text-to-image/2", "gpt-4o-image/text/2", "gpt-4o-image/text-to-image/3"):
        assert "priced are: gpt-4o-image" in (
            await admin.browser.get(f"/console/prices/{path}")
        ).expect(404)
        (await admin.browser.post(f"/console/prices/{path}/change", {"credits": "9"})).expect(404)
    (await admin.browser.get("/console/prices/gpt-4o-image/text-to-image/x")).expect(422)
