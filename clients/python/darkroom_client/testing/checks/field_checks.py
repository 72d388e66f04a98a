"""Checks of single fields, with the sentences of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from darkroom_client.testing.checks.public_urls import find_url_fault

_URL_LENGTH = 8192
_PROMPT_LENGTH = 20_000


@dataclass(frozen=True)
class Fault:
    """What is wrong with one field."""

    field: str
    message: str


def shown(value: object) -> str:
    """Return a refused value as refusals show it."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:59] + "…")
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else repr(value)


def _check_choice(name: str, value: Any, rule: Mapping[str, Any]) -> list[Fault]:
    if value in rule["allowed"] and isinstance(value, str):
        return []
    hint = ", or leave it out" if rule["nullable"] else ""
    return [Fault(name, f"is {shown(value)}; allowed: {', '.join(rule['allowed'])}{hint}")]


def _check_number(name: str, value: Any, rule: Mapping[str, Any]) -> list[Fault]:
    if value in rule["allowed"] and type(value) is int:
        return []
    *first, last = map(str, rule["allowed"])
    return [Fault(name, f"is {shown(value)}; allowed: the numbers {', '.join(first)} and {last}")]


def _check_one(name: str, value: Any, _: Mapping[str, Any]) -> list[Fault]:
    if value == 1 and type(value) is int:
        return []
    if type(value) is int and 2 <= value <= 1_000:
        jobs = f"{value} jobs of quantity 1"
        how = f"place {jobs}, with POST /v1/jobs/batch or `enqueue_many`"
        return [Fault(name, f"is {value}; one task makes one image: {how}")]
    return [Fault(name, f"is {shown(value)}; allowed: the number 1")]


def _check_flag(name: str, value: Any, _: Mapping[str, Any]) -> list[Fault]:
    if isinstance(value, bool):
        return []
    return [Fault(name, f"is {shown(value)}; allowed: true and false")]


def _check_whole(name: str, value: Any, rule: Mapping[str, Any]) -> list[Fault]:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(number) is int and rule["minimum"] <= number <= rule["maximum"]:
        return []
    return [Fault(name, f"is {shown(value)}; allowed: {rule['about']}")]


def _check_text(name: str, value: Any, rule: Mapping[str, Any]) -> list[Fault]:
    about = rule["about"]
    if name != "prompt":
        if not isinstance(value, str) or not value.strip():
            return [Fault(name, f"is {shown(value)}; allowed: {about}")]
        if len(value) > rule["maximum"]:
            return [Fault(name, f"is {len(value):,} characters long; allowed: {about}")]
        return []
    if not isinstance(value, str):
        return [Fault(name, f"must be {about}, not {shown(value)}")]
    if not value.strip():
        return [Fault(name, f"is blank; it must be {about}")]
    if len(value) > _PROMPT_LENGTH:
        return [Fault(name, f"is {len(value):,} characters long; it must be {about}")]
    if "\0" in value:
        return [Fault(name, "contains a NUL character, which cannot be stored; remove it")]
    return []


def _check_url(name: str, value: Any, _: Mapping[str, Any]) -> list[Fault]:
    if not isinstance(value, str):
        return [Fault(name, "must be text: a public http:// or https:// URL")]
    if not value:
        return [Fault(name, "is empty; give a public http:// or https:// URL")]
    if len(value) > _URL_LENGTH:
        message = f"is {len(value)} characters long; at most {_URL_LENGTH} are allowed"
        return [Fault(name, message)]
    fault = find_url_fault(value, allow_loopback=False)
    return [Fault(name, fault)] if fault else []


def _check_images(name: str, value: Any, rule: Mapping[str, Any]) -> list[Fault]:
    if not isinstance(value, list):
        return [Fault(name, f"must be a list of {rule['about']}, not {shown(value)}")]
    if not value:
        return [Fault(name, f"is empty; give {rule['about']}")]
    checked = enumerate(value[: rule["maximum"]])
    return [fault for index, one in checked for fault in _check_url(f"{name}.{index}", one, rule)]


CHECKS: Mapping[str, Callable[[str, Any, Mapping[str, Any]], list[Fault]]] = {
    "choice": _check_choice,
    "number": _check_number,
    "one": _check_one,
    "flag": _check_flag,
    "whole": _check_whole,
    "text": _check_text,
    "url": _check_url,
    "images": _check_images,
}
"""The checks by their names in `order_rules.json`."""
