"""The prices in force, and each price with its history and what is scheduled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.list_pages import MAX_ROW_ID
from producer.money.price_key import PriceKey
from producer.monitoring.kie_models import compare_prices
from shared.errors import Fault, InvalidRequest, NotFound, PriceMissing

PATH = f"{CONSOLE}/prices"
_HISTORY_ROWS = 200
_SCHEDULED_ROWS = 100


async def show_prices(call: PageCall) -> PageView:
    """Show every price with its margin and what Kie's price text names, and the changes to come."""
    billing = call.billing
    prices = await billing.prices()
    compared = compare_prices(prices, await call.producer.kie.models())
    values = {
        "prices": list(zip(prices, compared, strict=True)),
        "scheduled": await billing.price_changes.list_scheduled(
            limit=_SCHEDULED_ROWS, with_settled=False
        ),
    }
    return PageView("money/prices.html", values)


async def show_price(call: PageCall) -> PageView:
    """Show one price: its history with a plot, and its scheduled changes."""
    key = read_price_key(call)
    price = await find_price(call, key)
    [compared] = compare_prices([price], await call.producer.kie.models())
    versions = await call.billing.price_versions(key, _HISTORY_ROWS)
    changes = await call.billing.price_changes.list_scheduled(
        limit=_SCHEDULED_ROWS, with_settled=True
    )
    values = {
        "price": price,
        "compared": compared,
        "versions": versions,
        "scheduled": [row for row in changes if PriceKey.of_row(row) == key],
        "plot": plot_of_versions(versions, call.now),
    }
    title = "{} {}, {} images".format(*key) + (key.variant and f", {key.variant}")
    return PageView("money/price.html", values, title=title)


async def revoke_scheduled(call: PageCall) -> Redirect:
    """Revoke a scheduled change before its time."""
    text = call.part("id")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 1 <= number <= MAX_ROW_ID:
        raise NotFound(f"no scheduled price has the id {text[:40]!r}")
    gone = await call.billing.price_changes.unschedule(number, actor=call.actor)
    return Redirect(
        price_path(PriceKey.of_row(gone)),
        f"The change to {gone['credits'].normalize():f} credits was revoked. The price stays.",
    )


async def find_price(call: PageCall, key: PriceKey) -> dict[str, Any]:
    """Return the row of `pricing`. Raises `NotFound`."""
    try:
        return await call.billing.price(*key)
    except PriceMissing as missing:
        raise NotFound(str(missing)) from None


def read_price_key(call: PageCall) -> PriceKey:
    """Return the price that the path names. Raises `InvalidRequest`."""
    number = call.part("quantity")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InvalidRequest([Fault("quantity", f"{number[:40]!r} is not a number of images")])
    variant = call.query("variant") or ""
    return PriceKey(call.part("model"), call.part("task"), int(number), variant)


def price_path(key: PriceKey) -> str:
    """Return the path of the page of a price."""
    path = "/".join((PATH, *(quote(str(part), safe="") for part in key[:3])))
    return f"{path}?variant={quote(key.variant)}" if key.variant else path


def plot_of_versions(versions: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Return the plot of a price over time. `versions` are newest first."""
    # What was never in force has a time long before the product.
    oldest_first = [row for row in reversed(versions) if row["valid_from"].year > 2000]
    times = [row["valid_from"].timestamp() for row in oldest_first]
    charged = [float(row["credits"]) for row in oldest_first]
    costs = [float(row["provider_credits"]) for row in oldest_first]
    if times:
        times.append(max(now.timestamp(), times[-1] + 1))
        charged.append(charged[-1])
        costs.append(costs[-1])
    return {
        "times": times,
        "series": [
            {"label": "Price", "values": charged, "tone": "1", "steps": True},
            {"label": "Kie's charge", "values": costs, "tone": "2", "steps": True},
        ],
        "unit": "credits",
    }
