"""Reads a request body within a size limit and a timeout."""

from __future__ import annotations

import asyncio
from enum import Enum

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

BODY_TIMEOUT_SECONDS = 15.0
"""The default timeout."""


class BodyFault(Enum):
    """Why a body was not read completely."""

    TOO_LARGE = "too large"
    TOO_SLOW = "too slow"
    BROKEN_OFF = "broken off"


BROKEN_OFF = (
    ClientPayloadError,
    ConnectionError,
    HttpProcessingError,
    RequestPayloadError,
    web.PayloadAccessError,
)
"""The errors with which aiohttp ends a body that is not complete."""


async def read_body(
    request: web.BaseRequest, limit_bytes: int, timeout_seconds: float = BODY_TIMEOUT_SECONDS
) -> bytes | BodyFault:
    """Return the body, or why it was not read.

    A Content-Length above the limit is refused before anything is read.
    """
    if (request.content_length or 0) > limit_bytes:
        return BodyFault.TOO_LARGE
    chunks: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(timeout_seconds):
            async for chunk in request.content.iter_any():
                length += len(chunk)
                if length > limit_bytes:
                    return BodyFault.TOO_LARGE
                chunks.append(chunk)
    except TimeoutError:
        return BodyFault.TOO_SLOW
    except BROKEN_OFF:
        return BodyFault.BROKEN_OFF
    return b"".join(chunks)
