"""Turns pydantic's errors into faults with sentences for the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from shared.errors import FAULTS_MAX, Fault

if TYPE_CHECKING:
    from pydantic import ValidationError

_SHOWN_LENGTH = 60
_NAME_LENGTH = 80


@dataclass(frozen=True, slots=True)
class FieldRules:
    """What the faults of one request model say about its fields."""

    task: str
    allowed: Mapping[str, str]
    """Each field with a phrase that says which values it takes."""
    unsupported_fields: Mapping[str, str]
    """Fields that callers expect but that do not exist, each with its own sentence."""
    field_aliases: Mapping[str, str]
    """Other names of fields, each with our name."""


def format_value(value: object) -> str:
    """Format a refused value of any type for a message: short and on one line."""
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_LENGTH else value[: _SHOWN_LENGTH - 1] + "…"
        return repr(short)
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        # Python raises an error for integers of more than 4,300 digits.
        return repr(value) if value.bit_length() < 200 else "a very long number"
    if isinstance(value, Decimal):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else f"a value of type {type(value).__name__}"


def format_field_name(name: object) -> str:
    """Return a field name that is safe to print. Unknown names come from the caller."""
    text = name if isinstance(name, str) else format_value(name)
    printable = "".join(c if c.isprintable() else "?" for c in text[:_NAME_LENGTH])
    return printable or "(empty name)"


def list_field_faults(error: ValidationError, rules: FieldRules) -> list[Fault]:
    """Return one fault for each error of pydantic, in its order, up to `FAULTS_MAX`."""
    found = error.errors(include_url=False, include_input=False)[:FAULTS_MAX]
    return [_fault(one["type"], one["loc"], one.get("ctx"), one["msg"], rules) for one in found]


def _fault(
    error_type: str,
    location: tuple[int | str, ...],
    context: Mapping[str, Any] | None,
    message: str,
    rules: FieldRules,
) -> Fault:
    path = ".".join(
        format_field_name(part) if isinstance(part, str) else str(part) for part in location
    )
    if error_type == "extra_forbidden":
        return Fault(path, _unknown_field(str(location[-1]), rules))
    if error_type == "missing":
        return Fault(path, f"is required: {rules.allowed[str(location[0])]}")
    # Our validators raise ValueError with the whole sentence. Pydantic stores it in the context.
    reason = (context or {}).get("error")
    return Fault(path, str(reason) if isinstance(reason, ValueError) else message)


def _unknown_field(name: str, rules: FieldRules) -> str:
    if name in rules.unsupported_fields:
        return rules.unsupported_fields[name]
    likely = rules.field_aliases.get(name)
    if likely not in rules.allowed:
        likely = next(iter(get_close_matches(name[:_NAME_LENGTH], rules.allowed, n=1)), None)
    hint = f"did you mean {likely!r}? " if likely else ""
    return f"is not a field of {rules.task}; {hint}allowed: {', '.join(rules.allowed)}"
