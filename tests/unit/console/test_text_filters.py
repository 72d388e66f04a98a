"""How pages write amounts, times and links."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from producer.console import text_filters
from producer.console.image_sources import ImageSources

NOW = datetime(2026, 11, 27, 17, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("credits", "text"),
    [
        (Decimal("6"), "6"),
        (Decimal("6.000000"), "6"),
        (Decimal("1234567.5"), "1,234,567.5"),
        (Decimal("0.10"), "0.1"),
        (Decimal("-100"), "-100"),
        (Decimal("1E+3"), "1,000"),
        (Decimal("NaN"), "NaN"),
        (0, "0"),
        (None, "\u2013"),
    ],
)
def test_credits_have_no_more_decimals_than_they_need(
    credits: Decimal | int | None, text: str
) -> None:
    assert text_filters.format_credits(credits) == text


def test_one_credit_has_its_own_words() -> None:
    assert text_filters.count_credits(Decimal("1.000000")) == "1 credit"
    assert (
        text_filters.count_credits(Decimal("1.5"), "credit is", "credits are") == "1.5 credits are"
    )
    assert text_filters.count_credits(0) == "0 credits"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-28T13:39:02.298592+00:00", "2026-11-28 13:39:02"),
        ("2026-11-28T15:39:02+02:00", "2026-11-28 13:39:02"),
        ("2026-11-28", "2026-11-28"),
        ("at 2026-11-28T13:39:02+00:00", "at 2026-11-28T13:39:02+00:00"),
        ("2026-13-28T13:39:02+00:00", "2026-13-28T13:39:02+00:00"),
        (419.0, "419"),
        (9.5, "9.5"),
        (10000, "10000"),
        (True, "True"),
        (None, "None"),
    ],
)
def test_stored_times_are_written_in_utc_and_amounts_without_spare_decimals(
    value: object, text: str
) -> None:
    assert text_filters.format_stored(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (9.96, "10.0 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (-30, "-30 s"),
        (None, "\u2013"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float | None, text: str) -> None:
    assert text_filters.format_duration(seconds) == text


def test_times_are_said_as_ages_and_in_utc() -> None:
    assert text_filters.format_ago(NOW - timedelta(seconds=200), NOW) == "3 min ago"
    assert text_filters.format_ago(NOW + timedelta(hours=2), NOW) == "in 2 h"
    assert text_filters.format_ago(NOW, NOW) == "now"
    assert text_filters.format_time(NOW) == "2026-11-27 17:30:05"
    assert text_filters.format_iso_time(NOW) == "2026-11-27T17:30:05.000Z"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "//evil.example/x",
        "https:evil",
        "http://[",
        "https://a\\b",
        "https://a.example/\n",
        "",
    ],
)
def test_only_http_and_https_with_a_host_become_links(url: str) -> None:
    assert text_filters.safe_link(url) is None
    assert not ImageSources(frozenset({"a.example", "127.0.0.1:*"})).allows(url)


def test_images_are_loaded_from_the_hosts_of_the_setting_alone() -> None:
    images = ImageSources(frozenset({"a.example", "b.example:8443", "127.0.0.1:*"}))
    assert images.policy == "'self' http://127.0.0.1:* https://a.example https://b.example:8443"
    for url in ("https://a.example/1.png", "https://B.example:8443/x", "http://127.0.0.1:9/x.png"):
        assert images.allows(url), url
    for url in (
        "http://a.example/1.png",
        "https://a.example:444/1.png",
        "https://evil.example/1.png",
        "https://a.example.evil.example/1.png",
        "https://a.example@evil.example/1.png",
        "https://user@a.example/1.png",
        "https://127.0.0.1/x.png",
        "http://127.0.0.2:80/x.png",
    ):
        assert not images.allows(url), url


def test_a_query_leaves_out_what_is_empty() -> None:
    assert text_filters.make_query({"a": "1 2", "b": "", "c": None}, d="&") == "?a=1+2&d=%26"
    assert text_filters.make_query({"a": ""}) == ""
