"""Reads JSON from Postgres that Python cannot represent or write again.

jsonb stores numbers of any size and nesting of any depth. A value that cannot be read is replaced
by an object with the key `unreadable_json`, so that it does not make other rows of the same query
unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

UNREADABLE_KEY = "unreadable_json"
"""The only key of the object that replaces an unreadable value. Its value is the reason."""
MAX_JSON_DEPTH = 100
"""The maximum nesting of a value. Objects around it add a few levels."""


def read_stored_json(text: str) -> Any:
    """Return the value, or an object with the key `unreadable_json`. Raises nothing."""
    try:
        value = orjson.loads(text)
    except ValueError as error:
        return {UNREADABLE_KEY: str(error)}
    # Counting brackets is fast, and their number limits the depth.
    if text.count("[") + text.count("{") > MAX_JSON_DEPTH and exceeds_depth(value, MAX_JSON_DEPTH):
        return {UNREADABLE_KEY: f"it is nested deeper than {MAX_JSON_DEPTH} levels"}
    return value


def read_stored_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object from a column. `value` is text on a connection without a codec."""
    read = read_stored_json(value) if isinstance(value, str) else value
    if isinstance(read, Mapping):
        return cast("Mapping[str, Any]", read)
    return {UNREADABLE_KEY: f"it is no object but {type(read).__name__}"}


def exceeds_depth(value: object, levels: int) -> bool:
    """Return whether lists and objects in the value are nested deeper than `levels`."""
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
