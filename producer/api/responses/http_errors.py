"""Errors that only the HTTP API raises, each with its status."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from shared.errors import RequestRefused


class HttpRefusal(RequestRefused):
    """The request cannot be served, and nothing was stored."""

    code = "bad_request"
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class MalformedRequest(HttpRefusal):
    """The body is not a JSON object."""

    code = "malformed_request"


class KeyNeeded(HttpRefusal):
    """No API key exists, and the request is not a direct request from this machine."""

    code = "key_refused"
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, explanation: str) -> None:
        super().__init__(
            "while no API key exists, only direct requests of this machine are answered, and this"
            f" one {explanation}: make a key with `darkroom keys create` and send it in the header"
            " `Authorization: Bearer dk_...`"
        )


class TooManyRequests(HttpRefusal):
    """The key has as many requests in progress, or unread responses, as one key may have."""

    code = "too_much_at_once"
    status = HTTPStatus.TOO_MANY_REQUESTS


class Forbidden(HttpRefusal):
    """The key is known, but may not do this."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


class RequestTooLarge(HttpRefusal):
    """The body is longer than the limit of this route."""

    code = "request_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is too large: at most {limit_bytes:,} bytes are allowed here")


class UnsupportedContent(HttpRefusal):
    """The content type of the body is not JSON, or the body is compressed."""

    code = "unsupported_content"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class RequestTooSlow(HttpRefusal):
    """The body did not arrive in time."""

    code = "request_too_slow"
    status = HTTPStatus.REQUEST_TIMEOUT


class PauseNotFound(HttpRefusal):
    """The path names no pause."""

    code = "pause_not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(self, pause_id: str) -> None:
        super().__init__(f"no pause has the id {pause_id!r:.40}; GET /v1/pauses lists them")


class SessionNotFound(HttpRefusal):
    """The path names no login that is open, or one of another key."""

    code = "session_not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"no session {session_id!r:.40} is open for this key; GET /v1/sessions lists them"
        )


class PriceNotFound(HttpRefusal):
    """The path names no row of `pricing`."""

    code = "price_not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(
        self,
        model: str,
        task: str,
        quantity: str,
        *,
        variant: str = "",
        priced: Sequence[str] = (),
    ) -> None:
        exist = f"; priced are: {', '.join(priced)}" if priced else ""
        of_variant = f", variant {variant!r:.60}" if variant else ""
        super().__init__(
            f"there is no price for model {model!r:.60}, task {task!r:.60}, quantity"
            f" {quantity!r:.20}{of_variant}; an admin inserts that row into pricing first{exist}"
        )
