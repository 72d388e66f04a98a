"""The text of credits, durations and untrusted text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from producer.cli.display.text_format import (
    credits_text,
    duration_text,
    printable,
    shortened,
    time_text,
)
from shared.field_faults import format_value
from shared.job_json import timestamp_to_json


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


def test_foreign_text_loses_what_could_steer_a_terminal() -> None:
    assert printable("a\x1b[2J\nb\u202ec") == "a\ufffd[2J\ufffdb\ufffdc"
    assert shortened("one\n two  three", 9) == "one two …"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2027, 3, 28, 1, 30, tzinfo=UTC), "2027-03-28 01:30:00Z"),
        (datetime(2027, 3, 28, 2, 30, tzinfo=timezone(timedelta(hours=1))), "2027-03-28 01:30:00Z"),
        (datetime(2027, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=9))), "2026-12-31 20:30:00Z"),
    ],
)
def test_a_time_is_shown_in_utc_whatever_its_zone(time: datetime, text: str) -> None:
    assert time_text(time) == text
    assert timestamp_to_json(time) == text.replace(" ", "T")


@pytest.mark.parametrize("text", ["0.001", "1000.01", "0.009999999", "10.0"])
def test_a_refused_number_is_named_as_it_was_given(text: str) -> None:
    assert format_value(Decimal(text)) == text
