"""Reads numbers that people type. Python reads more: `1_000`, and the digits of every script."""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", re.ASCII)
_LENGTH_MAX = 60
CREDITS_MAX = 1_000_000
"""The most credits of a price, and of a grant by a form, the API or a new account."""


def read_decimal(text: str) -> Decimal | None:
    """Return the finite number of a text of ASCII digits, or None for other texts."""
    text = text.strip()
    return Decimal(text) if len(text) <= _LENGTH_MAX and _NUMBER.fullmatch(text) else None


def has_price_decimals(credits: Decimal) -> bool:
    """Return whether credits have at most 2 decimals, as those of prices and grants do."""
    return credits == round(credits, 2)
