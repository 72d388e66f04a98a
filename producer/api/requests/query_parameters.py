"""Reads what callers send: bodies within their limits and their time, and query parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from producer.api.responses.http_errors import (
    MalformedRequest,
    PriceNotFound,
    RequestTooLarge,
    RequestTooSlow,
    UnsupportedContent,
)
from producer.job_ids import read_uuid
from shared.adapters.http.request_body import BODY_TIMEOUT_SECONDS, BodyFault, read_body
from shared.errors import AccountNotFound, Fault, InvalidRequest, JobNotFound
from shared.field_faults import format_field_name, format_value

_MAX_DIGITS = 19


def is_storable_text(text: str) -> bool:
    """Return whether Postgres can store the text: it has no NUL, and no half of a character."""
    if text.isascii():
        return "\0" not in text
    return not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text)


def check_path_text(request: web.Request) -> None:
    """Raise what a route raises for a name that no row has, where no row can have it."""
    parts = request.match_info
    if all(map(is_storable_text, parts.values())):
        return
    if "quantity" in parts:
        raise PriceNotFound(parts["model"], parts["task"], parts["quantity"])
    is_job = request.path.startswith("/v1/jobs/")
    raise (JobNotFound if is_job else AccountNotFound)(next(iter(parts.values()))[:80])


_JSON = "application/json"
_FORM_CONTENT_TYPES = frozenset(
    {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}
)
"""What a web page may send anywhere without asking."""


def require_json_content(request: web.Request) -> None:
    """Raise `UnsupportedContent` for a body that is not said to be JSON, on any route.

    A web page cannot send that type to another origin without permission. A route that takes no
    body refuses one as well.
    """
    is_form = "Content-Type" in request.headers and request.content_type in _FORM_CONTENT_TYPES
    if is_form or (request.body_exists and not _is_json(request)):
        raise _not_json(request)


def _is_json(request: web.Request) -> bool:
    # Of two types one program would read the first, another the last.
    is_said_once = len(request.headers.getall("Content-Type", [])) == 1
    return is_said_once and request.content_type == _JSON


def _not_json(request: web.Request) -> UnsupportedContent:
    return UnsupportedContent(
        f"the body must be sent as Content-Type: application/json, not {request.content_type}"
    )


async def read_json_object(
    request: web.Request, limit_bytes: int, *, timeout_seconds: float = BODY_TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Return the JSON object of the body.

    Raises `UnsupportedContent`, `RequestTooLarge`, `RequestTooSlow` and `MalformedRequest`.
    """
    if not _is_json(request):
        raise _not_json(request)
    try:
        body = orjson.loads(await _read_body(request, limit_bytes, timeout_seconds))
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise MalformedRequest(f"the body must be a JSON object, not {format_value(body)}")
    return body


async def _read_body(request: web.Request, limit_bytes: int, timeout_seconds: float) -> bytes:
    body = await read_body(request, limit_bytes, timeout_seconds)
    match body:
        case BodyFault.TOO_LARGE:
            raise RequestTooLarge(limit_bytes)
        case BodyFault.TOO_SLOW:
            raise RequestTooSlow(f"the body must arrive within {timeout_seconds:g} s")
        case BodyFault.BROKEN_OFF:
            raise MalformedRequest("the body broke off before its end")
    return body


class QueryParameters:
    """The query parameters of one request; collects every fault before it refuses."""

    def __init__(self, request: web.Request, allowed: Collection[str]) -> None:
        self._given: Mapping[str, str] = {
            name: value for name, value in request.query.items() if is_storable_text(value)
        }
        self._faults = [
            Fault(format_field_name(name), f"is not a parameter here; allowed: {_listed(allowed)}")
            for name in request.query
            if name not in allowed
        ]
        self._faults += [
            Fault(
                format_field_name(name),
                f"{format_value(value)} has a character that cannot be stored",
            )
            for name, value in request.query.items()
            if not is_storable_text(value)
        ]
        self._faults += [
            Fault(format_field_name(name), "is given more than once")
            for name in allowed
            if len(request.query.getall(name, [])) > 1
        ]

    def text(self, name: str, longest: int) -> str | None:
        """Return the parameter, or None where it is not given; an empty one is a fault."""
        value = self._given.get(name)
        if value is not None and not 1 <= len(value) <= longest:
            sentence = f"{format_value(value)} must be 1 to {longest} characters"
            self._faults.append(Fault(name, sentence))
            return None
        return value

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        """Return the parameter where it is one of these words, or None where it is not given."""
        value = self._given.get(name)
        if value is not None and value not in allowed:
            self._faults.append(
                Fault(name, f"{format_value(value)} must be one of {_listed(allowed)}")
            )
            return None
        return value

    def names(self, name: str, allowed: Collection[str]) -> frozenset[str] | None:
        """Return the words given, separated by commas, or None where none are."""
        value = self._given.get(name)
        if value is None:
            return None
        words = value.split(",")
        unknown = next((word for word in words if word not in allowed), None)
        if unknown is not None:
            self._faults.append(
                Fault(name, f"{format_value(unknown)} is none of them; allowed: {_listed(allowed)}")
            )
        return frozenset(words)

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Return the whole number given, or the default."""
        value = self._given.get(name)
        if value is None:
            return default
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS:
            number = int(value)
            if lowest <= number <= highest:
                return number
        self._refuse_number(name, value, f"a whole number from {lowest} to {highest}")
        return default

    def seconds(self, name: str, highest: float) -> float | None:
        """Return the seconds given, fractions allowed, or None."""
        value = self._given.get(name)
        if value is None:
            return None
        try:
            seconds = float(value) if value.isascii() and "_" not in value else -1.0
        except ValueError:
            seconds = -1.0
        if 0 <= seconds <= highest:
            return seconds
        self._refuse_number(name, value, f"seconds from 0 to {highest:g}")
        return None

    def job_id(self, name: str, wanted: str = "the cursor of a page before") -> UUID | None:
        """Return the id given, or None where it is not given; `wanted` says what it must be."""
        value = self._given.get(name)
        if value is None:
            return None
        found = read_uuid(value)
        if found is None:
            self._faults.append(Fault(name, f"{format_value(value)} must be {wanted}"))
        return found

    def _refuse_number(self, name: str, value: str, wanted: str) -> None:
        self._faults.append(Fault(name, f"{format_value(value)} must be {wanted}"))

    def refuse(self, name: str, message: str) -> None:
        """Note a fault that only the caller can see."""
        self._faults.append(Fault(name, message))

    def raise_faults(self) -> None:
        """Raise `InvalidRequest` with every fault found, if any."""
        if self._faults:
            raise InvalidRequest(self._faults)


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
