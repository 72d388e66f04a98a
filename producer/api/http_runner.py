"""What the API's listener refuses itself, in the shape that every other refusal has."""

from __future__ import annotations

from aiohttp import web

from producer.api.responses.problems import RETRY_AFTER_SECONDS, problem
from producer.api.responses.request_ids import REQUEST_ID, request_id_of
from shared.adapters.http.http_server import LimitedRunner

_UNAVAILABLE = frozenset({429, 503})


def listener_problem(
    request: web.BaseRequest | None, status: int, code: str, detail: str
) -> web.Response:
    """Return a refusal as a problem."""
    answer = problem(status, code, detail)
    if status in _UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if request is not None:
        answer.headers[REQUEST_ID] = request_id_of(request)
    return answer


def build_runner(app: web.Application, *, drain_seconds: float) -> LimitedRunner:
    """Return what runs the API."""
    return LimitedRunner(
        app,
        name="api",
        refuse=listener_problem,
        # A caller who has left is not worked for any longer.
        handler_cancellation=True,
        shutdown_timeout=drain_seconds,
    )
