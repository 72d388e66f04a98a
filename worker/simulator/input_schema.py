"""Checks `input` of a Market request by the JSON Schema that Kie publishes for its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .create_request import FIELD_REQUIRED, InvalidRequestError, out_of_range

_Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def check_input(schema: _Schema, value: object, name: str = "input") -> None:
    """Return if the value is valid. Raises `InvalidRequestError` with the first fault otherwise.

    Raises `ValueError` where the schema has a keyword that is not known here: a rule that is not
    checked would accept what Kie refuses.
    """
    for keyword, wanted in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        check = _CHECKS.get(keyword)
        if check is None:
            raise ValueError(f"the schema of {name} has the unknown keyword {keyword!r}")
        check(schema, wanted, value, name)


def is_valid(schema: _Schema, value: object) -> bool:
    """Whether the value is valid."""
    try:
        check_input(schema, value)
    except InvalidRequestError:
        return False
    return True


def _check_type(_schema: _Schema, wanted: str, value: object, name: str) -> None:
    is_bool = isinstance(value, bool)
    if not isinstance(value, _TYPES[wanted]) or (is_bool and wanted != "boolean"):
        raise InvalidRequestError(f"{name} must be of the type {wanted}")


def _check_required(_schema: _Schema, wanted: list[str], value: object, _name: str) -> None:
    for field in wanted:
        if isinstance(value, Mapping) and field not in value:
            raise InvalidRequestError(f"{field} is required", FIELD_REQUIRED)


def _check_properties(
    _schema: _Schema, wanted: Mapping[str, _Schema], value: object, _name: str
) -> None:
    if isinstance(value, Mapping):
        for field, schema in wanted.items():
            if field in value:
                check_input(schema, value[field], field)


def _check_items(_schema: _Schema, wanted: _Schema, value: object, name: str) -> None:
    for one in value if isinstance(value, list) else ():
        check_input(wanted, one, name)


def _check_enum(_schema: _Schema, wanted: list[object], value: object, name: str) -> None:
    if value not in wanted:
        raise out_of_range(name, wanted)


def _check_const(_schema: _Schema, wanted: object, value: object, name: str) -> None:
    _check_enum(_schema, [wanted], value, name)


def _check_format(_schema: _Schema, wanted: str, value: object, name: str) -> None:
    # Kie takes any text for a URL, and fails the task later. An empty one it refuses.
    if wanted == "uri" and isinstance(value, str) and not value.strip():
        raise InvalidRequestError(f"{name} holds an empty URL", FIELD_REQUIRED)


def _check_all_of(_schema: _Schema, wanted: list[_Schema], value: object, name: str) -> None:
    for schema in wanted:
        check_input(schema, value, name)


def _check_any_of(_schema: _Schema, wanted: list[_Schema], value: object, name: str) -> None:
    if not any(is_valid(schema, value) for schema in wanted):
        raise InvalidRequestError(f"{name} does not fit any of its forms")


def _check_not(_schema: _Schema, wanted: _Schema, value: object, name: str) -> None:
    if is_valid(wanted, value):
        raise InvalidRequestError(f"{_name_fields(wanted) or name} is not supported here")


def _check_if(schema: _Schema, wanted: _Schema, value: object, name: str) -> None:
    branch = "then" if is_valid(wanted, value) else "else"
    if branch in schema:
        check_input(schema[branch], value, name)


def _name_fields(schema: _Schema) -> str:
    return ", ".join(schema.get("properties") or schema.get("required") or ())


def _limit(
    phrase: str, measure: Callable[[Any], float] | None, kinds: tuple[type, ...], sign: int
) -> Callable[[_Schema, Any, object, str], None]:
    """Return the check of a limit, the upper one where `sign` is 1."""

    def check(_schema: _Schema, wanted: float, value: object, name: str) -> None:
        if not isinstance(value, kinds) or isinstance(value, bool):
            return
        size = value if measure is None else measure(value)
        if sign * (size - wanted) > 0:  # type: ignore[operator]
            raise InvalidRequestError(f"{name} {phrase} {wanted:,}")

    return check


_ANNOTATIONS = frozenset(
    {"title", "description", "default", "deprecated", "example", "examples", "then", "else"}
)
_CHECKS: Mapping[str, Callable[[_Schema, Any, object, str], None]] = {
    "type": _check_type,
    "required": _check_required,
    "properties": _check_properties,
    "items": _check_items,
    "enum": _check_enum,
    "const": _check_const,
    "format": _check_format,
    "allOf": _check_all_of,
    "anyOf": _check_any_of,
    "not": _check_not,
    "if": _check_if,
    "minLength": _limit("is shorter than", len, (str,), -1),
    "maxLength": _limit("is longer than", len, (str,), 1),
    "minItems": _limit("has fewer entries than", len, (list,), -1),
    "maxItems": _limit("has more entries than", len, (list,), 1),
    "minimum": _limit("is below", None, (int, float), -1),
    "maximum": _limit("is above", None, (int, float), 1),
}
