"""Formats the limits of an account."""

from __future__ import annotations

from decimal import Decimal

from producer.accounts.account import Account
from producer.cli.display.text_format import credits_text


def limits_text(account: Account, *, without_defaults: bool = False) -> str:
    """Return the limits of an account in one line, or only those that are not the default."""
    day = _at_most(account.max_credits_per_day)
    parts = (
        (account.weight == 1, f"weight {credits_text(account.weight)}"),
        (account.max_open_jobs is None, f"open jobs {_at_most(account.max_open_jobs)}"),
        (account.max_queued_jobs is None, f"queued jobs {_at_most(account.max_queued_jobs)}"),
        (
            account.max_credits_per_day is None,
            f"credits of a day {day}, {credits_text(account.credits_today)} used today",
        ),
        (account.max_priority == "high", f"priority up to {account.max_priority}"),
    )
    return "; ".join(text for is_default, text in parts if not (without_defaults and is_default))


def _at_most(limit: Decimal | int | None) -> str:
    return "without limit" if limit is None else f"at most {credits_text(Decimal(limit))}"
