"""Turns errors into RFC 9457 problem responses (`application/problem+json`), with a request id.

`type` is `urn:darkroom:problem:` and the stable code of the error. A code always has the same
status. Details contain no secrets and no internals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from producer.accounts.limit_errors import LimitReached, PriorityNotAllowed
from producer.api.responses.http_errors import HttpRefusal
from producer.orders.error_json import TYPE_PREFIX, error_members
from shared import errors
from shared.errors import DarkroomError

CONTENT_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-Id"
_REQUEST_ID_LENGTH = 100

_STATUS_BY_ERROR: tuple[tuple[type[DarkroomError], HTTPStatus], ...] = (
    (errors.KeyRefused, HTTPStatus.UNAUTHORIZED),
    (errors.StateConflict, HTTPStatus.CONFLICT),
    (errors.InvalidRequest, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.InsufficientCredits, HTTPStatus.PAYMENT_REQUIRED),
    (LimitReached, HTTPStatus.TOO_MANY_REQUESTS),
    (PriorityNotAllowed, HTTPStatus.FORBIDDEN),
    (errors.IdempotencyConflict, HTTPStatus.CONFLICT),
    (errors.TooLateToCancel, HTTPStatus.CONFLICT),
    (errors.WouldLeaveDebt, HTTPStatus.CONFLICT),
    (errors.AlreadyExists, HTTPStatus.CONFLICT),
    (errors.ConfirmationNeeded, HTTPStatus.CONFLICT),
    (errors.PriceChanged, HTTPStatus.CONFLICT),
    (errors.AlreadyRefunded, HTTPStatus.CONFLICT),
    (errors.RefundTooLarge, HTTPStatus.CONFLICT),
    (errors.ScheduledPriceEnded, HTTPStatus.CONFLICT),
    (errors.PriceMissing, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.UploadsNotConfigured, HTTPStatus.NOT_IMPLEMENTED),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.DatabaseRefused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.DependencyDown, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The status of an error is that of the first matching row. Subclasses come before base classes."""

_TITLES = {
    "key_refused": "The API key is missing or not accepted",
    "forbidden": "This API key may not do that",
    "malformed_request": "The request cannot be read",
    "request_too_large": "The body is too large",
    "unsupported_content": "The body must be application/json",
    "request_too_slow": "The body did not arrive in time",
    "invalid_request": "The request breaks rules",
    "state_conflict": "The state of the job does not allow this",
    "insufficient_credits": "The account has too few credits available",
    "idempotency_conflict": "The idempotency key was used for another request",
    "queue_limit_reached": "The account has as many queued jobs as it may have",
    "daily_limit_reached": "The account has used its credits of the day",
    "priority_not_allowed": "This priority is not allowed",
    "too_much_at_once": "This API key has too many requests in progress",
    "too_late_to_cancel": "The job has ended",
    "would_leave_debt": "The account would be left in debt",
    "confirmation_needed": "The change looks like a typing error",
    "price_changed": "The price was changed meanwhile",
    "already_exists": "It exists already",
    "already_refunded": "The job was refunded already",
    "refund_too_large": "The refund is more than the charge",
    "scheduled_price_ended": "The change does not wait any more",
    "scheduled_price_not_found": "There is no such scheduled price",
    "too_many_connections": "Too many connections from one address",
    "starting": "This process is starting",
    "no_connection_left": "Every connection is in use",
    "too_slow": "No answer in time",
    "price_not_found": "There is no such price",
    "pause_not_found": "There is no such pause",
    "session_not_found": "There is no such session",
    "redis_down": "Redis cannot serve now",
    "price_missing": "There is no price for this",
    "job_not_found": "There is no such job",
    "account_not_found": "There is no such account",
    "results_store_down": "The store of images cannot serve now",
    "file_not_found": "There is no such file",
    "upload_failed": "Kie's upload host did not take the file",
    "uploads_not_configured": "This process cannot upload files",
    "not_found": "There is nothing here",
    "method_not_allowed": "This address has other methods",
    "database_refused": "A rule of the database refused the change",
    "postgres_down": "Postgres cannot serve now; nothing was stored",
    "dependency_down": "A server that Darkroom needs cannot serve now",
    "row_busy": "Another session holds a row that this needs",
    "internal_error": "Darkroom made a mistake",
}

RETRY_AFTER_SECONDS = 2
_RETRYABLE_STATUSES = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})

_RETRY_DETAIL = "try again after the seconds of Retry-After; /readyz and the log say what is wrong"


class Problem(web.Response):
    """A problem response."""

    cause: str | None = None
    """The text of the error, for the log."""


def problem_from_error(error: DarkroomError) -> web.Response:
    """Return the problem response for an error. Errors that no caller can cause are raised."""
    status, detail = status_and_detail(error)
    headers: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="darkroom"'
    if isinstance(error, LimitReached):
        headers["Retry-After"] = str(error.retry_after_seconds)
    response = problem(status, error.code, detail, members=error_members(error), headers=headers)
    response.cause = str(error)
    return response


def status_and_detail(error: DarkroomError) -> tuple[HTTPStatus, str]:
    """Return the status of an error, and its sentence without secrets and internals.

    Errors that no caller can cause are raised.
    """
    status = _status_of(type(error))
    if status is None:
        raise error
    return status, _detail(error)


def _detail(error: DarkroomError) -> str:
    # Error texts of servers may contain addresses and users: only /readyz and the log have them.
    if isinstance(error, errors.PostgresDown) and error.sqlstate:
        return f"{_RETRY_DETAIL} (SQLSTATE {error.sqlstate})"
    if isinstance(error, errors.RowBusy):
        return f"{error}; {_RETRY_DETAIL}"
    if isinstance(error, errors.UploadFailed):
        return f"{error}; {_RETRY_DETAIL}"
    return _RETRY_DETAIL if isinstance(error, errors.DependencyDown) else str(error)


def titles_by_code(status: int) -> dict[str, str]:
    """Return the codes of the problems with this status, each with its title.

    The first one is the most general.
    """
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return {"internal_error": _TITLES["internal_error"]}
    return {
        kind.code: _TITLES[kind.code]
        for kind in _subclasses(DarkroomError)
        if kind.code in _TITLES and _status_of(kind) == status
    }


def _subclasses(kind: type[DarkroomError]) -> Iterator[type[DarkroomError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)


def _status_of(error: type[DarkroomError]) -> HTTPStatus | None:
    if issubclass(error, HttpRefusal):
        return error.status
    return next((status for kind, status in _STATUS_BY_ERROR if issubclass(error, kind)), None)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Problem:
    """Return a problem response. `members` are additional members of its body."""
    body = {
        "type": TYPE_PREFIX + code,
        "title": _TITLES.get(code) or HTTPStatus(status).phrase,
        "status": int(status),
        # The text may repeat a lone surrogate of the request, which cannot be encoded.
        "detail": detail.encode(errors="replace").decode(),
        **(members or {}),
    }
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in _RETRYABLE_STATUSES else {}
    return Problem(
        body=orjson.dumps(body),
        status=status,
        content_type=CONTENT_TYPE,
        headers={**retry, **(headers or {})},
    )


def internal_problem() -> web.Response:
    """Return the response for a bug, without details of the bug."""
    detail = "the mistake is in the log under this request id; nothing may have been stored"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


def listener_problem(
    request: web.BaseRequest | None, status: int, code: str, detail: str
) -> Problem:
    """Return the problem response for a request or connection that the server refuses."""
    response = problem(status, code, detail)
    if request is not None:
        response.headers[REQUEST_ID] = request_id_of(request)
    return response


def request_id_of(request: web.BaseRequest) -> str:
    """Return the X-Request-Id of the request if it is short, printable ASCII, or else a new id."""
    given = request.headers.get(REQUEST_ID)
    if given and len(given) <= _REQUEST_ID_LENGTH and given.isascii() and given.isprintable():
        return given
    return uuid4().hex
