"""REDIS_PREFIX before the keys of commands, and which prefixes are allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.adapters.redis.key_prefix import prefix_keys
from shared.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (("GET", "k"), ("GET", "p:k")),
        (("ZREM", b"k", "member"), ("ZREM", b"p:k", "member")),
        (("DEL", "k", "l"), ("DEL", "p:k", "p:l")),
        (("SUBSCRIBE", "c", "d"), ("SUBSCRIBE", "p:c", "p:d")),
        (("PUBLISH", "c", "c"), ("PUBLISH", "p:c", "c")),
        (("EVALSHA", "sha", 2, "k", "l", "k"), ("EVALSHA", "sha", 2, "p:k", "p:l", "k")),
        (("SCRIPT LOAD", "return 1"), ("SCRIPT LOAD", "return 1")),
        (("PING",), ("PING",)),
    ],
)
def test_keys_and_channels_get_the_prefix_and_nothing_else(
    command: tuple[Any, ...], sent: tuple[Any, ...]
) -> None:
    assert prefix_keys("p:", command) == sent


@pytest.mark.parametrize("name", ["KEYS", "SCAN", "FLUSHDB", "RENAME", "SORT"])
def test_a_command_whose_keys_are_not_known_is_never_sent(name: str) -> None:
    with pytest.raises(ValueError, match=f"keys of {name} are not known"):
        prefix_keys("p:", (name, "k"))


@pytest.mark.parametrize("name", ["shop:", "a", "{shop}:", "my.{shop-1}:", "x" * 64])
def test_a_prefix_may_be(name: str) -> None:
    assert Settings(redis_prefix=name).redis_prefix == name


@pytest.mark.parametrize(
    "name", ["a b", "*", "a{}b", "{a}{b}", "{a", "a}", "x" * 65, "ä:", "a?b", "a\n"]
)
def test_a_prefix_may_not_be(name: str) -> None:
    with pytest.raises(ValidationError, match="1 to 64 letters"):
        Settings(redis_prefix=name)


def test_scripts_name_keys_and_channels_only_by_KEYS() -> None:  # noqa: N802
    """A key in ARGV would get no prefix, and a cluster would not know of it."""
    calls = [
        (file.name, line.strip())
        for folder in ("shared", "worker")
        for file in sorted((ROOT / folder / "lua").glob("*.lua"))
        for line in file.read_text().splitlines()
        if "redis.call('" in line and not line.lstrip().startswith("--")
    ]
    assert len(calls) > 40
    named = [(file, line) for file, line in calls if re.search(r"call\('\w+', ARGV", line)]
    assert named == []
