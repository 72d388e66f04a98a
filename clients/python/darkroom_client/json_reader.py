"""Turns JSON into the models. Members that this version does not know are ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from darkroom_client.errors import UnexpectedAnswer

T = TypeVar("T")
_Reader = Callable[[Any], Any]


def read_model(kind: type[T], data: Any) -> T:
    """Return the JSON object as a dataclass. Raises `UnexpectedAnswer` with the name of a member.

    A member that is missing becomes None or an empty list if its type allows it, so that a newer
    client reads the answers of an older server.
    """
    if not isinstance(data, Mapping):
        raise UnexpectedAnswer(f"a {kind.__name__} must be a JSON object, not {data!r:.60}")
    values = {}
    for name, (member, reader, missing) in _readers(cast("type", kind)).items():
        if member not in data and missing is not _REQUIRED:
            values[name] = missing
            continue
        try:
            values[name] = reader(data[member])
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise UnexpectedAnswer(f"{kind.__name__}.{member}: {error!r:.200}") from error
    return kind(**values)


def read_value(kind: Any, value: Any, name: str) -> Any:
    """Return one JSON value as this type. Raises `UnexpectedAnswer`."""
    try:
        return _reader_of(kind)(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UnexpectedAnswer(f"{name}: {error!r:.200}") from error


_REQUIRED = object()


@cache
def _readers(kind: type) -> dict[str, tuple[str, _Reader, Any]]:
    """Return for each field: its member in JSON, how to read it, and what it is if missing."""
    types = get_type_hints(kind)
    return {
        one.name: (
            one.name.removesuffix("_"),
            _reader_of(types[one.name]),
            _missing(types[one.name]),
        )
        for one in fields(kind)
        if one.init and not one.name.startswith("_")
    }


def _missing(kind: Any) -> Any:
    if _is_union(kind) and NoneType in get_args(kind):
        return None
    return () if get_origin(kind) is tuple else _REQUIRED


def _is_union(kind: Any) -> bool:
    # A Literal and None make the older kind of union.
    return get_origin(kind) in (Union, UnionType)


def _reader_of(kind: Any) -> _Reader:
    if _is_union(kind):
        return _union_reader(kind)
    if get_origin(kind) is tuple:
        read = _reader_of(get_args(kind)[0])
        return lambda value: tuple(read(one) for one in value)
    if is_dataclass(kind) and isinstance(kind, type):
        return lambda value: read_model(kind, value)
    if kind is datetime:
        return datetime.fromisoformat
    if kind is Decimal:
        # The digits as they were sent: Decimal(0.1) is another number than 0.1.
        return lambda value: Decimal(str(value))
    if kind is float:
        return float
    # A Literal is not checked: a newer server may know more states.
    return _text if kind is str or get_origin(kind) is Literal else _same


def _union_reader(kind: Any) -> _Reader:
    read = _reader_of(next(one for one in get_args(kind) if one is not NoneType))
    return lambda value: None if value is None else read(value)


def _text(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    raise TypeError(f"{value!r:.60} is no text")


def _same(value: Any) -> Any:
    return value
