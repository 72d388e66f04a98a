"""Changes a price in two steps: a preview of what it does, and the change, now or at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from producer.actor import MAX_REASON_LENGTH
from producer.api.requests.query_parameters import read_credits
from producer.console.page import PageCall, PageView, Redirect
from producer.console.pages.money.prices_page import find_price, price_path, read_price_key
from producer.console.text_filters import format_credits, format_time
from producer.money.price_key import PriceKey
from producer.plain_numbers import CREDITS_MAX
from shared.errors import Fault, InvalidRequest


@dataclass(frozen=True, slots=True)
class _Change:
    """What the form says."""

    credits: Decimal
    provider_credits: Decimal | None
    at: datetime | None
    """None: at once."""
    reason: str
    is_confirmed: bool

    def fingerprint(self, price_id: int) -> str:
        """Return what a preview is made of. Another one is needed for another change, and where
        somebody has changed the price since.
        """
        return f"{self.credits:f} {self.provider_credits} {self.at} {price_id}"


async def ask_change(call: PageCall) -> PageView:
    """Show the form of a change."""
    return await _form(call, {})


async def change_price(call: PageCall) -> PageView | Redirect:
    """Show what the change would do, and make it when the form comes back as it was previewed."""
    key, change = read_price_key(call), _read_change(call)
    preview = await call.producer.preview_price(
        *key[:3], change.credits, change.provider_credits, variant=key.variant
    )
    fingerprint = change.fingerprint(preview.price_id)
    previewed = call.form.get("previewed")
    is_previewed = previewed == fingerprint
    is_of_other_price = (
        not is_previewed
        and previewed is not None
        and _without_price(previewed) == _without_price(fingerprint)
    )
    if is_of_other_price and change.at is None and preview.changes_nothing:
        # The form was sent twice, or somebody else set the same price.
        notice = f"The price is {format_credits(change.credits)} already. Nothing was changed."
        return Redirect(price_path(key), notice)
    if not is_previewed or (preview.needs_confirmation and not change.is_confirmed):
        values = {
            "preview": preview,
            "change": change,
            "fingerprint": fingerprint,
            "must_confirm": is_previewed,
            "is_of_other_price": is_of_other_price,
        }
        return await _form(call, values)
    return await _make(call, key, change, preview.price_id)


async def _make(call: PageCall, key: PriceKey, change: _Change, price_id: int) -> Redirect:
    changes = call.billing.price_changes
    if change.at is None:
        await changes.change(
            key,
            change.credits,
            provider_credits=change.provider_credits,
            reason=change.reason,
            confirmed=change.is_confirmed,
            from_price_id=price_id,
            actor=call.actor,
        )
        notice = f"The new price is {format_credits(change.credits)}, from the next settlement."
    else:
        await changes.schedule(
            key,
            change.credits,
            provider_credits=change.provider_credits,
            at=change.at,
            reason=change.reason,
            confirmed=change.is_confirmed,
            actor=call.actor,
        )
        notice = (
            f"The price will be {format_credits(change.credits)} from"
            f" {format_time(change.at)} UTC on."
        )
    return Redirect(price_path(key), notice)


async def _form(call: PageCall, values: dict[str, Any]) -> PageView:
    key = read_price_key(call)
    price = await find_price(call, key)
    given = {"preview": None, "change": None, **values}
    return PageView(
        "money/price_change.html", {"price": price, "reason_length": MAX_REASON_LENGTH, **given}
    )


def _without_price(fingerprint: str) -> str:
    return fingerprint.rpartition(" ")[0]


def _read_change(call: PageCall) -> _Change:
    form, faults = call.form, []
    credits = read_credits(form.get("credits", ""), CREDITS_MAX)
    cost_text = form.get("provider_credits", "")
    cost = read_credits(cost_text, CREDITS_MAX) if cost_text else None
    wanted = f"must be a number from 0 to {CREDITS_MAX:,}, with at most 2 decimals"
    if credits is None:
        faults.append(Fault("credits", wanted))
    if cost_text and cost is None:
        faults.append(Fault("provider_credits", wanted))
    at = None
    if form.get("at"):
        at = _read_time(form["at"])
        if at is None or at <= datetime.now(UTC):
            faults.append(Fault("at", "must be a time to come, in UTC; empty: at once"))
    reason = form.get("reason", "")
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        faults.append(Fault("reason", f"say why, in 1 to {MAX_REASON_LENGTH} characters"))
    if faults or credits is None:
        raise InvalidRequest(faults)
    return _Change(credits, cost, at, reason, form.get("confirm") == "yes")


def _read_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
