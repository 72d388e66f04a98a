"""Builds the aiohttp application.

Every endpoint has the same authentication, budgets, timeout and problem responses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from producer.accounts.limit_errors import QueueLimitReached
from producer.api.api_metrics import ApiMetrics
from producer.api.authentication import authenticate
from producer.api.endpoint import UPLOAD_HELD_BYTES, ApiContext, Call, Endpoint
from producer.api.openai_api.job_answers import JobError
from producer.api.openai_api.openai_errors import PATH_PREFIX, convert_problem
from producer.api.requests.json_body import check_path_text, require_json_content
from producer.api.responses.problems import (
    REQUEST_ID,
    Problem,
    internal_problem,
    problem,
    problem_from_error,
    request_id_of,
)
from shared.adapters.http.slow_readers import call_after_response_read
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.processes.service_phase import PROBE_PATHS
from shared.errors import DarkroomError

_SERVER_ERROR = 500
_UNAVAILABLE = 503
_NOT_SERVED = "request_not_served"

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_application(
    context: ApiContext,
    endpoints: Iterable[Endpoint],
    metrics: ApiMetrics,
    extra_routes: Iterable[web.RouteDef],
) -> web.Application:
    """Return the application with these endpoints. `extra_routes` are served without a key."""
    app = web.Application(middlewares=[_problem_middleware])
    app.add_routes(extra_routes)
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    for path, own in by_path.items():
        app.add_routes(
            web.route(
                one.method,
                path,
                _build_route_handler(context, one, metrics),
                # A stream writes its own body, which a HEAD response must not have.
                **({"allow_head": False} if one.is_stream else {}),
            )
            for one in own
        )
        if "{" not in path:
            app.router.add_route("*", path, _refuse_other_methods(own))
    return app


def _refuse_other_methods(own: Iterable[Endpoint]) -> RouteHandler:
    """Return 405 for this path. A path with braces would otherwise match its last part as an id."""
    methods = {one.method for one in own}
    allowed = methods | ({"HEAD"} if "GET" in methods else set())

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def _build_route_handler(
    context: ApiContext, endpoint: Endpoint, metrics: ApiMetrics
) -> RouteHandler:
    count = metrics.counter_for(endpoint.name, is_stream=endpoint.is_stream)

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        response: web.StreamResponse
        try:
            response = await _handle(context, endpoint, request)
        except TimeoutError:
            detail = f"no answer within {endpoint.timeout_seconds:g} s"
            response = problem(503, "too_slow", detail)
        except Exception:
            count(_SERVER_ERROR, time.perf_counter() - started)
            raise  # the middleware logs it, and returns a response without its text
        count(response.status, time.perf_counter() - started)
        return response

    return handle


async def _handle(
    context: ApiContext, endpoint: Endpoint, request: web.Request
) -> web.StreamResponse:
    try:
        caller = await authenticate(context.keys, request, endpoint)
        check_path_text(request, endpoint.not_found)
        if not endpoint.is_read_only and endpoint.uploads is None:
            require_json_content(request)
        reservation = context.budgets.reserve(
            caller.key_prefix,
            _reserved_bytes(endpoint, request),
            is_wait=endpoint.is_stream
            or endpoint.always_waits
            or (endpoint.supports_wait and "wait" in request.query),
        )
        try:
            response = await _run_with_timeout(
                endpoint, Call(request, caller, context, reservation)
            )
            # A request that has changed something always gets its response.
            reservation.set_response_bytes(_length_of(response), may_refuse=endpoint.is_read_only)
        except BaseException:
            reservation.close()
            raise
    except DarkroomError as error:
        if isinstance(error, QueueLimitReached):
            await context.producer.waiting.set_retry_after(error)
        return problem_from_error(error)
    call_after_response_read(request, reservation.close)
    return response


async def _run_with_timeout(endpoint: Endpoint, call: Call) -> web.StreamResponse:
    if endpoint.is_stream or endpoint.is_download:
        return await endpoint.handler(call)
    async with asyncio.timeout(endpoint.timeout_seconds):
        return await endpoint.handler(call)


def _reserved_bytes(endpoint: Endpoint, request: web.Request) -> int:
    """Return the most bytes that the bodies of this request may need before its response exists."""
    if endpoint.uploads is not None:
        return UPLOAD_HELD_BYTES
    if endpoint.body is None:
        return endpoint.max_response_bytes
    given = request.content_length
    if given is None:
        return endpoint.chunked_body_limit or endpoint.body_limit
    return min(given, endpoint.body_limit)


def _length_of(response: web.StreamResponse) -> int:
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes | bytearray) else 0


@web.middleware
async def _problem_middleware(request: web.Request, handler: RouteHandler) -> web.StreamResponse:
    """Add the request id to every response, and return every error as a problem.

    Below `/openai/` it has the shape of OpenAI's errors.
    """
    request_id = request_id_of(request)
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        response = _problem_of_http(request, refusal)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        _log_failure(request, request_id, error)
        response = internal_problem()
    _log_status(response, request_id, request.path)
    if isinstance(response, Problem) and request.path.startswith(PATH_PREFIX):
        response = convert_problem(response)
    if not response.prepared:
        response.headers[REQUEST_ID] = request_id
    return response


def _log_failure(request: web.Request, request_id: str, error: Exception) -> None:
    """Log a bug when it first occurs and when it changes, because callers repeat requests."""
    resource = request.match_info.route.resource
    incidents.record_failure(
        "request_failed",
        f"{request.method} {resource.canonical if resource is not None else ''}",
        repr(error),
        level="error",
        request_id=request_id,
        exc_info=error,
    )


def _log_status(response: web.StreamResponse, request_id: str, path: str) -> None:
    # A probe says what the process knows of itself: that is no request that was not served.
    if isinstance(response, JobError) or path in PROBE_PATHS:
        return
    status = response.status
    cause = response.cause if isinstance(response, Problem) else None
    if status == _UNAVAILABLE:
        # While a server is down, every request ends like this. Log the incident once.
        error = cause or f"status {status}"
        incidents.record_failure(_NOT_SERVED, "api", error, request_id=request_id, path=path)
    elif status >= _SERVER_ERROR:
        error = cause or f"status {status}"
        incidents.record_failure(
            _NOT_SERVED, f"status {status}", error, request_id=request_id, path=path
        )
    else:
        incidents.record_success(_NOT_SERVED, "api")


def _problem_of_http(request: web.Request, refusal: web.HTTPException) -> web.StreamResponse:
    if refusal.status < 400:
        raise refusal
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(refusal.allowed_methods))
        detail = f"{request.method} is not a method of {request.path[:200]}; allowed: {allowed}"
        return problem(405, "method_not_allowed", detail, headers={"Allow": allowed})
    if isinstance(refusal, web.HTTPNotFound):
        detail = f"no route at {request.path[:200]}; GET /openapi.json lists what there is"
        return problem(404, "not_found", detail)
    return problem(400, "bad_request", refusal.reason)
