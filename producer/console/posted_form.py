"""Reads the fields of a posted form."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web

from producer.api.requests.query_parameters import is_storable_text
from producer.api.responses.http_errors import (
    MalformedRequest,
    RequestTooLarge,
    RequestTooSlow,
    UnsupportedContent,
)
from shared.adapters.http.request_body import BodyFault, read_body
from shared.errors import Fault, InvalidRequest

FORM_BYTES_MAX = 256 * 1024
"""Enough for the ids of 1,000 jobs, and for the longest reason."""
FIELDS_MAX = 2_000
_CONTENT_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class PostedForm:
    """The fields of a form."""

    values: dict[str, str] = field(default_factory=dict)
    """The last value of each field, without surrounding spaces."""
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """All values of each field."""


async def read_posted_form(request: web.Request) -> PostedForm:
    """Return the fields of the body.

    Raises `UnsupportedContent`, `RequestTooLarge`, `RequestTooSlow`, `MalformedRequest`, and
    `InvalidRequest` for texts that Postgres cannot store.
    """
    if request.content_type != _CONTENT_TYPE:
        raise UnsupportedContent(f"a form is sent as {_CONTENT_TYPE}, not {request.content_type}")
    body = await read_body(request, FORM_BYTES_MAX)
    match body:
        case BodyFault.TOO_LARGE:
            raise RequestTooLarge(FORM_BYTES_MAX)
        case BodyFault.TOO_SLOW:
            raise RequestTooSlow("the form must arrive within 15 s")
        case BodyFault.BROKEN_OFF:
            raise MalformedRequest("the form broke off before its end")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise MalformedRequest("the form cannot be read") from None
    faults = [
        Fault(name, "has a character that cannot be stored")
        for name, value in pairs
        if not is_storable_text(name + value)
    ]
    if faults:
        raise InvalidRequest(faults)
    lists: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        # Browsers send line breaks of text areas as CR LF.
        lists[name] = (*lists.get(name, ()), value.replace("\r\n", "\n").strip())
    return PostedForm({name: values[-1] for name, values in lists.items()}, lists)
