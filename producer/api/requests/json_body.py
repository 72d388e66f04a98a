"""Reads a JSON object from a request body, within its size limit and its time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from producer.api.requests.query_parameters import is_storable_text
from producer.api.responses.http_errors import (
    MalformedRequest,
    RequestTooLarge,
    RequestTooSlow,
    UnsupportedContent,
)
from shared.adapters.http.request_body import BODY_TIMEOUT_SECONDS, BodyFault, read_body
from shared.errors import DarkroomError
from shared.field_faults import format_value


def check_path_text(
    request: web.Request, not_found: Callable[[Mapping[str, str]], DarkroomError]
) -> None:
    """Raise the error of `not_found` for a path with text that Postgres cannot store."""
    parts = request.match_info
    if not all(map(is_storable_text, parts.values())):
        raise not_found(parts)


_JSON = "application/json"
_FORM_CONTENT_TYPES = frozenset(
    {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}
)
"""The content types that a web page may send to other origins without permission."""


def require_json_content(request: web.Request) -> None:
    """Raise `UnsupportedContent` if the content type of a body is not JSON.

    A web page cannot send JSON to another origin without permission. Routes without a body check
    this as well.
    """
    is_form = "Content-Type" in request.headers and request.content_type in _FORM_CONTENT_TYPES
    if is_form or (request.body_exists and not _is_json(request)):
        raise _not_json(request)


def _is_json(request: web.Request) -> bool:
    # With two headers, programs differ in which one they use.
    is_said_once = len(request.headers.getall("Content-Type", [])) == 1
    return is_said_once and request.content_type == _JSON


def _not_json(request: web.Request) -> UnsupportedContent:
    return UnsupportedContent(
        f"the body must be sent as Content-Type: application/json, not {request.content_type}"
    )


async def read_json_object(
    request: web.Request,
    limit_bytes: int,
    *,
    is_optional: bool = False,
    timeout_seconds: float = BODY_TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """Return the JSON object in the request body. A missing one that is optional is empty.

    Raises `UnsupportedContent`, `RequestTooLarge`, `RequestTooSlow` and `MalformedRequest`.
    """
    if is_optional and not request.body_exists:
        return {}
    if not _is_json(request):
        raise _not_json(request)
    return _parse_object(await _read_body(request, limit_bytes, timeout_seconds))


async def read_json_with_data_urls(
    request: web.Request, limit_bytes: int, data_url_limit_bytes: int
) -> dict[str, Any]:
    """Return the JSON object in the request body, which may be longer if it has `data:` URLs.

    The longer limit needs a Content-Length. Raises the errors of `read_json_object`.
    """
    if not _is_json(request):
        raise _not_json(request)
    limit = limit_bytes if request.content_length is None else data_url_limit_bytes
    text = await _read_body(request, limit, BODY_TIMEOUT_SECONDS)
    if len(text) > limit_bytes and b'"data:' not in text:
        raise RequestTooLarge(limit_bytes)
    return _parse_object(text)


def _parse_object(text: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(text)
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
