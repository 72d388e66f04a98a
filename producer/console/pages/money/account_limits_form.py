"""The form that sets the limits of an account."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import get_args

from producer.accounts.account import Account
from producer.accounts.account_limits import LIMIT_NAMES, AccountLimits
from producer.actor import MAX_REASON_LENGTH
from producer.console.page import PageCall, PageView, Redirect
from producer.console.pages.money.accounts_page import account_path
from producer.plain_numbers import read_decimal
from shared.domain.job import Priority
from shared.errors import Fault, InvalidRequest

_SHOWN = "shown_"
"""Before the name of a limit: its value as the form showed it. What somebody else has changed
meanwhile, and this form has not, stays as it is."""


async def ask_limits(call: PageCall) -> PageView:
    """Show the form, with the limits in force."""
    account = await call.billing.account(call.part("id"))
    values = {
        "account": account,
        "shown": _texts(account),
        "priorities": get_args(Priority),
    }
    return PageView("money/account_limits.html", values)


async def set_limits(call: PageCall) -> Redirect:
    """Set the limits that differ from what the form showed."""
    account_id = call.part("id")
    reason = call.form.get("reason", "")
    faults: list[Fault] = []
    if len(reason) > MAX_REASON_LENGTH:
        faults.append(Fault("reason", f"has at most {MAX_REASON_LENGTH} characters"))
    changes = _read_changes(call.form, faults)
    if faults:
        raise InvalidRequest(faults)
    if not changes:
        return Redirect(account_path(account_id), "Nothing was changed.")
    await call.billing.set_account_limits(
        account_id, reason=reason or None, actor=call.actor, **changes
    )
    return Redirect(account_path(account_id), "The limits were set.")


def _texts(account: Account) -> dict[str, str]:
    """Return the limits as the form shows them. No limit is an empty text."""
    values = {name: getattr(account, name) for name in LIMIT_NAMES}
    return {
        name: "" if value is None else f"{value.normalize():f}" if name in _NUMBERS else str(value)
        for name, value in values.items()
    }


_NUMBERS = ("weight", "max_credits_per_day")
_NAMES = "max_priority"


def _read_changes(form: Mapping[str, str], faults: list[Fault]) -> AccountLimits:
    changes: dict[str, object] = {}
    for name in LIMIT_NAMES:
        text = form.get(name)
        if text is None or text == form.get(f"{_SHOWN}{name}"):
            continue
        try:
            changes[name] = text if name == _NAMES else _read_number(name, text)
        except ValueError:
            allowed = "a number" if name in _NUMBERS else "a whole number, or empty: no limit"
            faults.append(Fault(name, f"{text!r:.40} must be {allowed}"))
    limits: AccountLimits = changes  # type: ignore[assignment]
    return limits


def _read_number(name: str, text: str) -> Decimal | int | None:
    if not text:
        return None
    number = read_decimal(text)
    if number is None or (name not in _NUMBERS and number != number.to_integral_value()):
        raise ValueError(text)
    return number if name in _NUMBERS else int(number)
