"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

The SDKs raise an exception by the status, and send a request again by themselves after 408, 409,
429 and every 5xx, unless the header `x-should-retry` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from producer.api.responses.problems import Problem, listener_problem
from producer.orders.error_json import TYPE_PREFIX

PATH_PREFIX = "/openai/"
SHOULD_RETRY = "x-should-retry"
_INVALID = "invalid_request_error"
_SERVER = "server_error"
_FROM_PROBLEM: Mapping[str, tuple[int, str, str]] = {
    "key_refused": (HTTPStatus.UNAUTHORIZED, _INVALID, "invalid_api_key"),
    "invalid_request": (HTTPStatus.BAD_REQUEST, _INVALID, "invalid_value"),
    "price_missing": (HTTPStatus.BAD_REQUEST, _INVALID, "price_missing"),
    # OpenAI has no 402. Programs recognise this code.
    "insufficient_credits": (
        HTTPStatus.TOO_MANY_REQUESTS,
        "insufficient_quota",
        "insufficient_quota",
    ),
    **dict.fromkeys(
        ("too_much_at_once", "queue_limit_reached", "daily_limit_reached"),
        (HTTPStatus.TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded"),
    ),
}
"""Status, type and code of the problems that OpenAI words in its own way."""
_NEVER_RETRIED = frozenset(
    {
        *("insufficient_credits", "idempotency_conflict", "daily_limit_reached"),
        *("uploads_not_configured", "masks_not_installed"),
    }
)
"""Problems whose status the SDKs retry, in vain."""


class OpenaiError(web.Response):
    """An error response in OpenAI's shape. `kind` is OpenAI's `type`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        error = {"message": message, "type": kind, "param": param, "code": code}
        super().__init__(
            body=orjson.dumps({"error": error}),
            status=status,
            content_type="application/json",
            headers=headers,
        )


def convert_problem(problem: Problem) -> OpenaiError:
    """Return the problem in OpenAI's shape. A 422 becomes 400, and a 402 becomes 429."""
    body: dict[str, Any] = orjson.loads(problem.body)  # type: ignore[arg-type]
    code = body["type"].removeprefix(TYPE_PREFIX)
    kind = _SERVER if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else _INVALID
    status, kind, openai_code = _FROM_PROBLEM.get(code, (problem.status, kind, code))
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    faults = body.get("errors") or [{"field": None}]
    headers = {
        name: value for name, value in problem.headers.items() if not name.startswith("Content-")
    }
    if code in _NEVER_RETRIED:
        headers[SHOULD_RETRY] = "false"
    return OpenaiError(
        status,
        body["detail"],
        kind=kind,
        code=openai_code,
        param=faults[0]["field"] or None,
        headers=headers,
    )


def refuse_request(
    request: web.BaseRequest | None, status: int, code: str, detail: str
) -> web.Response:
    """Return the response for a request or connection that the server refuses before a handler."""
    refusal = listener_problem(request, status, code, detail)
    if request is None or not request.path.startswith(PATH_PREFIX):
        return refusal
    return convert_problem(refusal)
