"""The text form of an API key, its hash, and its redaction."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from itertools import cycle
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.keys.key_format import (
    EMPTY_HASH,
    PREFIX_LENGTH,
    hash_key,
    make_key,
    parse_key_name,
    prefix_of,
    redact_key,
)
from shared.errors import KeyNotFound, KeyRefused, NotFound, RequestRefused

PREFIX = "dk_0aZ9bY8cX7dW"
SECRET = "0123456789abcdefghijABCDEFGHIJ0123456789abc"
KEY = f"{PREFIX}_{SECRET}"
MALFORMED = (
    *("", " ", "dk_", PREFIX, f"{PREFIX}_", SECRET, KEY[:-1], f"{KEY}0", f" {KEY}", f"{KEY} "),
    *(f"{KEY}\n", KEY.upper(), KEY.replace("dk_", "sk_"), KEY.replace("_", "-"), f"Bearer {KEY}"),
    *(f"{PREFIX}_{SECRET[:-1]}-", f"{PREFIX}_{SECRET[:-1]}_", f"{PREFIX}_{SECRET[:-1]}é"),
    # Digits to some readers, not to this one.
    *(f"{PREFIX}_{SECRET[:-1]}٣", f"dk_{'x' * 11}ß_{SECRET}", f"{KEY}\x00", "\ud800", "x" * 9999),
)


def test_a_new_key_begins_with_its_prefix_and_is_read_again() -> None:
    prefix, text = make_key()
    assert re.fullmatch(r"dk_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}", text)
    assert len(prefix) == PREFIX_LENGTH
    assert text.startswith(f"{prefix}_")
    assert prefix_of(text) == prefix


def test_no_two_keys_and_no_two_prefixes_are_alike() -> None:
    made = [make_key() for _ in range(500)]
    assert len({prefix for prefix, _ in made}) == len({text for _, text in made}) == len(made)
    assert len({text.rpartition("_")[2] for _, text in made}) == len(made)


def test_the_secret_part_holds_256_bits() -> None:
    drawn: list[str] = []
    turns = cycle(range(62))

    def choose(characters: str) -> str:
        drawn.append(characters)
        return characters[next(turns)]

    _, text = make_key(choose)
    choices = [len(set(characters)) for characters in drawn[-len(text.rpartition("_")[2]) :]]
    assert sum(math.log2(count) for count in choices) >= 256


def test_every_character_of_a_key_is_random() -> None:
    def draws() -> Iterator[str]:
        yield from f"{PREFIX[3:]}{SECRET}"

    source = draws()
    assert make_key(lambda _: next(source)) == (PREFIX, KEY)
    assert list(source) == []


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: f"{text!r:.60}")
def test_a_text_that_is_not_a_key_has_no_prefix(text: str) -> None:
    assert prefix_of(KEY) == PREFIX
    assert prefix_of(text) is None


@given(st.text() | st.from_regex(r"dk_\w{12}_\w{43}"))
def test_whatever_is_presented_is_read_as_a_key_or_as_none(text: str) -> None:
    prefix = prefix_of(text)
    assert (prefix is not None) == bool(re.fullmatch(r"(?a:dk_[^\W_]{12}_[^\W_]{43})", text))
    assert prefix is None or text.startswith(prefix)


def test_what_is_stored_is_the_hash_of_the_whole_key() -> None:
    assert hash_key(KEY) == hashlib.sha256(KEY.encode()).digest()
    assert len(EMPTY_HASH) == len(hash_key(KEY))


def test_people_name_a_key_by_its_prefix_its_id_or_all_of_it() -> None:
    key_id = UUID("0190f5fe-0000-7000-8000-000000000001")
    assert parse_key_name(PREFIX) == parse_key_name(KEY) == (PREFIX, None)
    assert parse_key_name(str(key_id)) == (None, key_id)
    for text in ("", "acme", PREFIX[3:], KEY[:-1]):
        assert parse_key_name(text) == (None, None)


@pytest.mark.parametrize("text", [KEY, KEY[:-1], f"{KEY}x", f" {KEY}", SECRET, f"{KEY}\n"])
def test_a_name_that_may_be_a_secret_is_not_repeated(text: str) -> None:
    told = str(KeyNotFound(redact_key(text)))
    assert "no API key has the prefix or id" in told
    assert SECRET[16:] not in told
    assert len(told) < 90


def test_a_text_that_is_not_a_key_is_returned_unchanged() -> None:
    assert redact_key("dk_short") == "dk_short"
    assert redact_key(PREFIX) == redact_key(KEY) == PREFIX


def test_each_reason_of_a_refusal_has_its_own_sentence() -> None:
    refusals = [
        KeyRefused("missing"),
        KeyRefused("malformed"),
        KeyRefused("unknown"),
        KeyRefused("revoked"),
    ]
    assert len({str(one) for one in refusals}) == len(refusals)
    assert [one.reason for one in refusals] == ["missing", "malformed", "unknown", "revoked"]
    assert {one.code for one in refusals} == {"key_refused"}
    assert isinstance(refusals[0], RequestRefused)
    assert issubclass(KeyNotFound, NotFound)
