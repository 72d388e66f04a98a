"""Responses as bytes: Kie's envelope, its errors in every form, and malformed responses."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import orjson

JSON_TYPE = "application/json;charset=UTF-8"

KEY_NOT_SENT_RIGHT = (
    "Unauthorized \u2013 Authentication failed. Please check that your Authorization and "
    "Content-Type headers are correctly set."
)
"""Recorded from POST routes. The document has the text of `MESSAGES`, and so have the others."""

ConnectionEnd = Literal["send", "close", "reset"]


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """One answer, ready to send.

    ``record_code`` is what the record writes down: the code in the body, or a word for an answer
    without one. ``ending`` other than send breaks the connection instead of answering.
    """

    record_code: str
    body: bytes = b""
    http_status: int = 200
    content_type: str = JSON_TYPE
    ending: ConnectionEnd = "send"
    extra_delay_seconds: float = 0.0
    location: str = ""
    """Where a redirect points."""
    file: Path | None = None
    """A file to send in place of a body."""


class RefusedError(Exception):
    """A request is refused with this reply; ``reason`` is its key in the record."""

    def __init__(self, reason: str, reply: SimulatedResponse) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


MESSAGES: Mapping[int, str] = MappingProxyType(
    {
        400: "The request body is not valid JSON",
        401: "You do not have access permissions",
        402: "The current credits are insufficient. Please top up.",
        404: "Not Found",
        408: "Upstream gave no result for more than 10 minutes",
        422: "Validation error",
        429: "Your call frequency is too high. Please try again later.",
        433: "The usage of this key has reached its cap",
        451: "Failed to fetch the image",
        455: "The service is under maintenance. Please try again later.",
        500: "Server exception, please try again later",
        501: "Generation failed",
        505: "This feature is currently disabled",
        550: "The connection was refused because the queue is full",
    }
)


def gzip_body(body: bytes) -> bytes:
    """Return the body as gzip. A small window costs a tenth of the default one's time."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + 11, 4)
    return packer.compress(body) + packer.flush()


def success(data: object) -> SimulatedResponse:
    """The envelope of a success."""
    return SimulatedResponse("200", orjson.dumps({"code": 200, "msg": "success", "data": data}))


def error(code: int, message: str = "", form: str = "body") -> SimulatedResponse:
    """An error in one of the forms ``body``, ``status`` and ``bare``.

    An authorization failure has no ``data`` key, as recorded from the real service.
    """
    text = message or MESSAGES.get(code, "error")
    http_status = code if 200 <= code <= 599 else 500
    if form == "bare":
        return SimulatedResponse(str(code), text.encode(), http_status, "text/plain;charset=UTF-8")
    envelope: dict[str, object] = {"code": code, "msg": text}
    if code != 401:
        envelope["data"] = None
    return SimulatedResponse(
        str(code), orjson.dumps(envelope), http_status if form == "status" else 200
    )


def no_file(status: int) -> SimulatedResponse:
    """The response of the host of images and files, which is not that of the API."""
    page = b"<html><head><title>Object not found</title></head></html>"
    return SimulatedResponse(str(status), page, status, "text/html")


def malformed_reply(kind: str) -> SimulatedResponse:
    """Return a malformed response. ``kind`` is one of the choices of the junk switches but none."""
    return _JUNK[kind]


_BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
_MAINTENANCE = b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"


def no_route(path: str, epoch: float) -> SimulatedResponse:
    """Return the response to a route that Kie does not have."""
    time = datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")
    return _framework_error("404", 404, "Not Found", path=path, time=time)


def _framework_error(
    record_code: str,
    status: int,
    error_words: str,
    *,
    path: str = "/api/v1/gpt4o-image/generate",
    time: str = "2026-03-27T19:30:00.000+00:00",
) -> SimulatedResponse:
    """Return an error of Kie's framework, which has no envelope, as recorded."""
    body = {
        "timestamp": time,
        "status": status,
        "error": error_words,
        "message": "No message available",
        "path": path,
    }
    return SimulatedResponse(record_code, orjson.dumps(body), status)


_JUNK: Mapping[str, SimulatedResponse] = MappingProxyType(
    {
        "html": SimulatedResponse("junk:html", _BAD_GATEWAY, 502, "text/html"),
        "html_200": SimulatedResponse("junk:html_200", _MAINTENANCE, 200, "text/html"),
        "empty": SimulatedResponse("junk:empty"),
        "garbage": SimulatedResponse("junk:garbage", b'{"code":200,"msg":"succ'),
        "not_object": SimulatedResponse("junk:not_object", b"[]"),
        "no_route": _framework_error("junk:no_route", 404, "Not Found"),
        "no_method": _framework_error("junk:no_method", 405, "Method Not Allowed"),
        "redirect": SimulatedResponse(
            "junk:redirect", b"", 302, "text/html", location="https://login.example/?next=kie"
        ),
        "other_json": SimulatedResponse(
            "junk:other_json", b'{"service":"something else","ok":true}'
        ),
        "cloudflare": SimulatedResponse("junk:cloudflare", b"error code: 1010", 403, "text/plain"),
    }
)

NO_FILE = no_file(404)
TOO_LARGE = error(413, "Request body too large", "status")
CLOSED = SimulatedResponse("closed", ending="close")
RESET = SimulatedResponse("reset", ending="reset")
