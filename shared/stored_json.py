"""Reads JSON that Postgres has stored, which holds more than can be read or written again here.

Postgres's jsonb has numbers of any size and any depth. One row with such a value must not keep
others from being read with it, or written out with it: its value is replaced by an object that
says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import orjson

UNREADABLE_KEY = "unreadable_json"
"""The one key of what stands for a value that cannot be read; it says why."""
MAX_JSON_DEPTH = 100
"""How deep a value may be nested. What holds it is nested a few levels itself."""

_STRING_OR_EXPONENT = re.compile(rb'"(?:[^"\\]|\\.)*"|[0-9][eE]([+-]?[0-9]+)')
_EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]")


def stored_length(text: bytes) -> int:
    """Return how long JSON text is once Postgres has stored it, spaces between its parts aside.

    jsonb writes every number digit by digit: `1e308` becomes 309 digits, `1e-308` becomes 310
    characters. The length is never less than it will be.
    """
    if not _EXPONENT.search(text):
        return len(text)
    exponents = (found[1] for found in _STRING_OR_EXPONENT.finditer(text))
    return len(text) + sum(abs(int(one)) for one in exponents if one is not None)


def read_stored_json(text: str) -> Any:
    """Return the value, or an object with the one key `unreadable_json`. Raises nothing."""
    try:
        value = orjson.loads(text)
    except ValueError as error:
        return {UNREADABLE_KEY: str(error)}
    # Counting is quick, and nothing is nested deeper than it has brackets.
    if text.count("[") + text.count("{") > MAX_JSON_DEPTH and exceeds_depth(value, MAX_JSON_DEPTH):
        return {UNREADABLE_KEY: f"it is nested deeper than {MAX_JSON_DEPTH} levels"}
    return value


def read_stored_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, from what a connection gave: the value, or its text without a codec."""
    read = read_stored_json(value) if isinstance(value, str) else value
    if isinstance(read, Mapping):
        return cast("Mapping[str, Any]", read)
    return {UNREADABLE_KEY: f"it is no object but {type(read).__name__}"}


def exceeds_depth(value: object, levels: int) -> bool:
    """Return whether lists and objects are nested in the value by more than so many levels."""
    layer = [value]
    for _ in range(levels + 1):
        holders = [one for one in layer if isinstance(one, list | tuple | Mapping)]
        if not holders:
            return False
        layer = [
            inner
            for holder in holders
            for inner in (holder.values() if isinstance(holder, Mapping) else holder)
        ]
    return True
