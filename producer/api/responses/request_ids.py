"""The id of a request: the caller's own where it is fit to be repeated."""

from __future__ import annotations

from uuid import uuid4

from aiohttp import web

REQUEST_ID = "X-Request-Id"
_LENGTH = 100


def request_id_of(request: web.BaseRequest) -> str:
    """Return the caller's id for this request where it is fit to be repeated, else a new one."""
    given = request.headers.get(REQUEST_ID)
    if given and len(given) <= _LENGTH and given.isascii() and given.isprintable():
        return given
    return uuid4().hex
