"""What the driver must know of array types before a statement may use them.

The driver asks the server for it, by a query of its own on each new connection. To plan that query
takes the server about 12 ms, often longer than all statements of a short connection. The types of
Postgres itself have the same numbers on every server, so the answer is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

ELEMENTS = MappingProxyType(
    {
        1000: ("_bool", 16),
        1007: ("_int4", 23),
        1016: ("_int8", 20),
        1022: ("_float8", 701),
        1185: ("_timestamptz", 1184),
        1231: ("_numeric", 1700),
        2951: ("_uuid", 2950),
    }
)
"""The name of each array type of our statements, and the number of the type of its elements."""


def describe_arrays(numbers: Iterable[int]) -> list[Mapping[str, Any]] | None:
    """Return what the driver must know of these types, or None if one is not written here."""
    try:
        return [_describe(number) for number in numbers]
    except KeyError:
        return None


def _describe(number: int) -> Mapping[str, Any]:
    name, element = ELEMENTS[number]
    return {
        "oid": number,
        "ns": "pg_catalog",
        "name": name,
        "kind": b"b",
        "basetype": None,
        "elemtype": element,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
        "attrnames": None,
    }
