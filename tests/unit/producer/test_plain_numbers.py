"""Numbers that people type are read as they would read them aloud, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from producer.plain_numbers import read_decimal


@pytest.mark.parametrize(
    ("text", "number"),
    [("2", "2"), ("-7.50", "-7.50"), (" 0.5 ", "0.5"), (".5", "0.5"), ("1e3", "1000")],
)
def test_a_number_in_ascii_digits_is_read(text: str, number: str) -> None:
    assert read_decimal(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1_0",
        "\u0663",
        "\uff11\uff12",
        "1,5",
        "0x10",
        "NaN",
        "-inf",
        "sNaN1",
        "1e999",
        "9" * 61,
    ],
)
def test_what_python_alone_takes_for_a_number_is_refused(text: str) -> None:
    assert read_decimal(text) is None
