"""The text of credits, durations and untrusted text."""

from __future__ import annotations

from decimal import Decimal

import pytest

from producer.cli.display.text_format import (
    count_text,
    credits_text,
    duration_text,
    printable,
    shortened,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-0.2, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (59.7, "1 min"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (7400, "2 h 3 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("credits", "text"),
    [(None, "-"), (Decimal("100"), "100"), (Decimal("7.50"), "7.5"), (Decimal("-3"), "-3")],
)
def test_credits_have_no_superfluous_digits(credits: Decimal | None, text: str) -> None:
    assert credits_text(credits) == text


def test_a_count_agrees_with_its_noun() -> None:
    assert (count_text(1, "job"), count_text(1200, "job")) == ("1 job", "1,200 jobs")


def test_foreign_text_loses_what_could_steer_a_terminal() -> None:
    assert printable("a\x1b[2J\nb\u202ec") == "a\ufffd[2J\ufffdb\ufffdc"
    assert shortened("one\n two  three", 9) == "one two …"
