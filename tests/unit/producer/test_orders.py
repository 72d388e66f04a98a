"""Order fields: an error lists every fault with its field and the allowed values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from producer import InvalidRequest, Order
from tests.support.deployment import text_to_image


def order(**changes: Any) -> Order:
    return Order(**{"request": text_to_image(), "account_id": "acme", **changes})


def faults_of(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        order(**changes)
    return {fault.field: fault.message for fault in caught.value.faults}


def test_an_order_needs_only_a_request_and_who_pays() -> None:
    plain = order()
    assert (plain.priority, plain.idempotency_key, plain.run_at) == ("normal", None, None)
    assert (dict(plain.metadata), plain.webhook_url, plain.retry_of) == ({}, None, None)


def test_every_fault_is_reported_at_once() -> None:
    faults = faults_of(
        account_id="two words",
        idempotency_key="",
        metadata={"when": object()},
        webhook_url="ftp://shop.example",
        priority="urgent",
        run_at=datetime(2031, 5, 1),  # noqa: DTZ001 -- naive on purpose
    )
    assert list(faults) == [
        *("account_id", "idempotency_key", "metadata", "webhook_url", "priority", "run_at"),
    ]
    assert faults["account_id"] == "'two words' must be 1 to 200 printable characters, no spaces"
    assert faults["idempotency_key"] == "must be 1 to 255 printable characters"
    assert faults["metadata"].startswith("must be a JSON object: ")
    assert "must be an http:// or https:// URL of at most 8192" in faults["webhook_url"]
    assert faults["priority"] == "'urgent' must be one of high, normal, low"
    assert faults["run_at"].endswith("must be a time with its timezone")


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\tb", "a\nb", "\x00", "\x7f", "\x85", "x" * 201, None, 7, b"acme"]
)
def test_an_account_must_have_a_readable_name(name: Any) -> None:
    assert set(faults_of(account_id=name)) == {"account_id"}


@pytest.mark.parametrize("name", ["a", "x" * 200, "Ärger-42", "org:team/7", "客户"])
def test_any_readable_name_without_spaces_will_do(name: str) -> None:
    assert order(account_id=name).account_id == name


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "\x00", "\ud800", 7, b"k"])
def test_a_key_must_be_short_and_printable(key: Any) -> None:
    assert set(faults_of(idempotency_key=key)) == {"idempotency_key"}


@pytest.mark.parametrize("key", ["k", "k" * 255, "order 1042", "№ 7"])
def test_any_short_printable_key_will_do(key: str) -> None:
    assert order(idempotency_key=key).idempotency_key == key


@pytest.mark.parametrize(
    "notes",
    [7, "text", [1], {1: "a"}, {"a": {1, 2}}, {"a": b"x"}, {"a": "\x00"}, {"a": "\ud800"}],
)
def test_notes_must_be_json(notes: Any) -> None:
    assert set(faults_of(metadata=notes)) == {"metadata"}


def test_notes_have_a_size_limit() -> None:
    assert order(metadata={"a": "x" * (16 * 1024 - 8)}).metadata
    message = faults_of(metadata={"a": "x" * (16 * 1024 - 7)})["metadata"]
    assert message == "is 16385 bytes of JSON; at most 16384 are allowed"


BOMBS: list[Any] = [
    [1e308] * 200,
    [1e-308] * 200,
    [5e-324] * 101,
    [-1.7976931348623157e308] * 150,
    [1e16] * 2500,
    {"deep": {"deeper": [[1e200] * 200]}},
    {f"{n}e9": 1e300 for n in range(120)},
    ["1e308", '"1e308', "\\", *[1e308] * 106],
]
"""Numbers that take a few bytes in JSON, and hundreds where they are stored."""


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: str(bomb)[:20])
def test_notes_are_bounded_by_what_they_become(bomb: Any) -> None:
    message = faults_of(metadata={"a": bomb})["metadata"]
    assert message.endswith("at most 32768 are allowed")
    assert "digit by digit" in message


@pytest.mark.parametrize(
    "notes",
    [
        [1e308] * 100,
        ["1e308"] * 2000,
        ['\\"1e308', "\\", "9e9"] * 600,
        [1] * 8000,
        [0.1, 1e15, -7, 3.14159] * 400,
        "1e99999999999",
    ],
    ids=lambda notes: str(notes)[:20],
)
def test_notes_that_stay_as_short_as_they_are_may_be_as_long_as_ever(notes: Any) -> None:
    assert order(metadata={"a": notes}).metadata["a"] == notes


def test_notes_may_speak_of_nul_as_long_as_there_is_none() -> None:
    assert order(metadata={"escaped": "\\u0000"}).metadata == {"escaped": "\\u0000"}


@pytest.mark.parametrize(
    "url",
    [
        *("", "shop.example", "ftp://shop.example", "https://", "https:///path", "javascript:x"),
        *("https://shop.example/\n", "http://[", "https://shop.example/" + "x" * 8192, 7, b"x"),
    ],
)
def test_a_webhook_must_be_an_http_url(url: Any) -> None:
    assert set(faults_of(webhook_url=url)) == {"webhook_url"}


@pytest.mark.parametrize("priority", ["", "High", "urgent", None, 1, ["high"], {}])
def test_a_priority_is_one_of_three(priority: Any) -> None:
    assert set(faults_of(priority=priority)) == {"priority"}


def test_a_time_may_be_in_any_time_zone() -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert order(run_at=moment).run_at == datetime(2026, 5, 1, 10, tzinfo=UTC)


@pytest.mark.promise("366 days ahead")
@pytest.mark.parametrize("days", [367, 3_660, 365 * 7_900])
def test_a_time_is_at_most_366_days_away(days: int) -> None:
    far = datetime.now(UTC) + timedelta(days=days)
    [sentence] = faults_of(run_at=far).values()
    assert sentence == f"'{far.isoformat()}' must be at most 366 days from now"
    near = datetime.now(UTC) + timedelta(days=365)
    assert order(run_at=near).run_at == near


@pytest.mark.parametrize("moment", ["2031-05-01T12:00:00Z", 1_900_000_000, object()])
def test_a_time_is_a_datetime(moment: Any) -> None:
    assert set(faults_of(run_at=moment)) == {"run_at"}


def test_long_nonsense_is_not_repeated_at_length() -> None:
    for name in ("account_id", "webhook_url", "priority"):
        assert len(faults_of(**{name: "x" * 100_000})[name]) < 250
