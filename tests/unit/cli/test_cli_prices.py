"""The effect of a price change: its margin, and the open jobs that it reprices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from producer.cli.display.tables.price_tables import margin_text
from producer.money.price_changes import count_repriced_jobs
from shared.settings import ChargeBasis


@pytest.mark.parametrize(
    ("credits", "cost", "text"),
    [("8", "6", "+2 (25 %)"), ("6", "6", "0 (0 %)"), ("5", "6", "-1 (-20 %)"), ("0", "6", "-6")],
)
def test_the_margin_is_what_is_left_of_the_price(credits: str, cost: str, text: str) -> None:
    price = {"credits": Decimal(credits), "provider_credits": Decimal(cost)}
    assert margin_text(price) == text


@pytest.mark.parametrize(("basis", "touched"), [("current", 5), ("quoted", 0), ("lower_of", 2)])
def test_the_charge_basis_decides_which_open_jobs_are_touched(
    basis: ChargeBasis, touched: int
) -> None:
    assert count_repriced_jobs(basis, {"open_jobs": 5, "quoted_above": 2}) == touched
