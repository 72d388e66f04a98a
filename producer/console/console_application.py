"""Builds the routes of the console: every page and action with its checks, errors and headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from aiohttp import web

from producer.api.api_metrics import ApiMetrics
from producer.api.endpoint import RESPONSE_TIMEOUT_SECONDS
from producer.api.requests.query_parameters import is_storable_text
from producer.api.responses.problems import RETRY_AFTER_SECONDS, status_and_detail
from producer.console.image_sources import ImageSources
from producer.console.page import (
    CONSOLE,
    Action,
    ConsoleContext,
    Page,
    PageCall,
    PageView,
    Redirect,
)
from producer.console.page_rendering import PageRenderer, redirect_response
from producer.console.page_table import ACTIONS, PAGES
from producer.console.pages.login_page import LoginPages
from producer.console.posted_form import read_posted_form
from producer.console.sessions.access import (
    LoginNeeded,
    require_form_token,
    require_own_page,
    require_role,
    visitor_of,
)
from producer.console.static_files import read_static_files
from shared.adapters.http.forwarding import root_path_of
from shared.adapters.http.slow_readers import call_after_response_read
from shared.adapters.monitoring.incident_log import incidents
from shared.errors import (
    DarkroomError,
    DatabaseRefused,
    InvalidRequest,
    NotFound,
    PostgresDown,
    RedisDown,
    RequestRefused,
)

_PAGE_BYTES_RESERVED = 512 * 1024
"""The bytes that a page reserves in the budget of its key until its length is known."""

_FAULTS_TOLD = 3

_SERVERS = {PostgresDown: "Postgres", RedisDown: "Redis"}
"""The servers of which a page says that they are away."""

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Answer = Callable[[web.Request, "_Run"], Awaitable[web.StreamResponse]]


def console_routes(context: ConsoleContext, metrics: ApiMetrics) -> list[web.RouteDef]:
    """Return the routes of the console, of its static files, and of `/`."""
    static_files = read_static_files()
    images = ImageSources(frozenset(context.image_hosts))
    renderer = PageRenderer(PAGES, ACTIONS, static_files, images)
    server = _ConsoleServer(context, renderer, metrics)
    login = LoginPages(context, renderer)
    routes = [web.get(file.url, file.respond) for file in static_files]
    routes += [
        web.get("/", _lead_browsers_to_console),
        web.get(f"{CONSOLE}/", _lead_to_console),
        web.get(f"{CONSOLE}/login", server.plain_route("login", login.show)),
        web.post(f"{CONSOLE}/login", server.plain_route("log_in", login.log_in)),
        web.post(f"{CONSOLE}/logout", server.plain_route("log_out", login.log_out)),
    ]
    # A path with braces would otherwise match the last part of another path as an id.
    for page in sorted(PAGES, key=lambda one: "{" in one.path):
        # A stream writes its own body, which a HEAD response must not have.
        route = server.page_route(page)
        routes.append(web.get(CONSOLE + page.path, route, allow_head=not page.is_stream))
    for action in sorted(ACTIONS, key=lambda one: "{" in one.path):
        routes.append(web.post(CONSOLE + action.path, server.action_route(action)))
        if action.form is not None:
            routes.append(web.get(CONSOLE + action.path, server.form_route(action)))
    routes.append(web.get(f"{CONSOLE}/{{path:.*}}", server.plain_route("none", _refuse_path)))
    return routes


async def _lead_to_console(_: web.Request) -> web.StreamResponse:
    return redirect_response(CONSOLE)


async def _lead_browsers_to_console(request: web.Request) -> web.StreamResponse:
    """Redirect clients that accept HTML to the console. Other clients get a 404."""
    if "text/html" not in request.headers.get("Accept", ""):
        raise web.HTTPNotFound
    return redirect_response(CONSOLE)


async def _refuse_path(request: web.Request) -> web.StreamResponse:
    raise NotFound(f"the console has no page {request.path[:200]}")


@dataclass(slots=True)
class _Run:
    """What is known about a request while it is answered."""

    title: str
    section: str
    call: PageCall | None = None


class _ConsoleServer:
    """Answers requests of pages and actions."""

    def __init__(
        self, context: ConsoleContext, renderer: PageRenderer, metrics: ApiMetrics
    ) -> None:
        self._context = context
        self._renderer = renderer
        self._metrics = metrics

    def page_route(self, page: Page) -> RouteHandler:
        """Return the handler of a page."""

        async def answer(request: web.Request, run: _Run) -> web.StreamResponse:
            run.call = await self._enter(request, page)
            if page.is_stream or page.is_file:
                return await self._send(run, page, await page.handler(run.call))
            async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
                return await self._send(run, page, await page.handler(run.call))

        return self._route(page.name, page.title, page.section, answer, is_stream=page.is_stream)

    def form_route(self, action: Action) -> RouteHandler:
        """Return the handler of an action's form."""
        form = action.form
        assert form is not None  # noqa: S101

        async def answer(request: web.Request, run: _Run) -> web.StreamResponse:
            run.call = await self._enter(request, action)
            async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
                return await self._send(run, action, await form(run.call))

        return self._route(f"{action.name}_form", action.title, action.section, answer)

    def action_route(self, action: Action) -> RouteHandler:
        """Return the handler of an action. Nothing is read before role and page are checked."""

        async def answer(request: web.Request, run: _Run) -> web.StreamResponse:
            call = run.call = await self._enter(request, action)
            require_own_page(request)
            form = await read_posted_form(request)
            require_form_token(call.visitor, form.values)
            call = run.call = replace(call, form=form.values, form_lists=form.lists)
            try:
                async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
                    return await self._send(run, action, await action.handler(call))
            except (RequestRefused, DatabaseRefused) as error:
                if action.form is None:
                    raise
                run.call = _with_error(call, error)
                view = await action.form(run.call)
                if isinstance(view, PageView):
                    view = replace(view, status=_status_of(error))
                return await self._send(run, action, view)

        return self._route(action.name, action.title, action.section, answer)

    def plain_route(self, name: str, handler: RouteHandler) -> RouteHandler:
        """Return the handler of a page without a visitor."""

        async def answer(request: web.Request, _: _Run) -> web.StreamResponse:
            return await handler(request)

        return self._route(name, "Console", None, answer)

    def _route(
        self,
        name: str,
        title: str,
        section: str | None,
        answer: _Answer,
        *,
        is_stream: bool = False,
    ) -> RouteHandler:
        count = self._metrics.counter_for(f"console_{name}", is_stream=is_stream)

        async def handle(request: web.Request) -> web.StreamResponse:
            started = time.perf_counter()
            run = _Run(title, section or name)
            try:
                response = await answer(request, run)
            except LoginNeeded:
                response = _lead_to_login(request)
            except DarkroomError as error:
                response = self._error_page(request, run, _status_of(error), _detail_of(error))
            except TimeoutError:
                text = f"no answer within {RESPONSE_TIMEOUT_SECONDS:g} s"
                response = self._error_page(request, run, 503, text)
            except web.HTTPException:
                raise
            except Exception as error:
                _log_failure(request, name, error)
                text = "Darkroom made a mistake. The log has it, under the id of this request."
                response = self._error_page(request, run, 500, text)
            took = time.perf_counter() - started
            if not response.prepared:
                response.headers["Server-Timing"] = f"app;dur={took * 1000:.1f}"
            count(response.status, took)
            return response

        return handle

    async def _enter(self, request: web.Request, target: Page | Action) -> PageCall:
        """Return the call of a visitor who may see the page or perform the action."""
        api = self._context.api
        visitor = await visitor_of(api.keys, self._context.sessions, request)
        require_role(visitor, target.roles)
        given = [*request.match_info.values(), *request.query.keys(), *request.query.values()]
        if not all(map(is_storable_text, given)):
            raise NotFound("the address has a character that cannot be stored")
        is_stream = isinstance(target, Page) and target.is_stream
        reservation = api.budgets.reserve(
            visitor.caller.key_prefix, 0 if is_stream else _PAGE_BYTES_RESERVED, is_wait=is_stream
        )
        call_after_response_read(request, reservation.close)
        return PageCall(request, visitor, self._context)

    async def _send(
        self, run: _Run, target: Page | Action, result: PageView | Redirect | web.StreamResponse
    ) -> web.StreamResponse:
        if isinstance(result, Redirect):
            return redirect_response(result.path, result.notice)
        if isinstance(result, web.StreamResponse):
            return result
        assert run.call is not None  # noqa: S101
        return self._renderer.render(
            run.call.request,
            result,
            title=run.title,
            section=run.section,
            call=run.call,
            uses_plots=target.uses_plots,
            pauses=await run.call.producer.pauses.active(),
        )

    def _error_page(
        self, request: web.Request, run: _Run, status: int, text: str
    ) -> web.StreamResponse:
        view = PageView("error.html", {"text": text, "status": status}, status=status)
        title = HTTPStatus(status).phrase
        response = self._renderer.render(
            request, view, title=title, section=run.section, call=run.call
        )
        if status in {429, 503}:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


def _lead_to_login(request: web.Request) -> web.Response:
    # After an action the page before it is not known, so the login leads to the start.
    path = request.path_qs if request.method == "GET" else CONSOLE
    login = f"{CONSOLE}/login?next={quote(path, safe='')}"
    if request.headers.get("HX-Request") == "true":
        # htmx would show the login inside the page. An update may be read from another address.
        page = urlsplit(request.headers.get("HX-Current-URL", ""))
        shown = page.path.removeprefix(root_path_of(request))
        path = f"{shown}?{page.query}" if page.query else shown
        login = f"{CONSOLE}/login?next={quote(path, safe='')}"
        return web.Response(status=401, headers={"HX-Redirect": login})
    if "text/event-stream" in request.headers.get("Accept", ""):
        return web.Response(status=401)
    return redirect_response(login)


def _with_error(call: PageCall, error: DarkroomError) -> PageCall:
    """Return the call with what is wrong: by field, and as a text."""
    if isinstance(error, InvalidRequest):
        faults = {fault.field: fault.message for fault in error.faults}
        # A fault may be of no field that the form has.
        told = "; ".join(map(str, error.faults[:_FAULTS_TOLD]))
        return replace(call, faults=faults, error=f"Nothing was changed. {told}")
    return replace(call, error=_detail_of(error))


def _status_of(error: DarkroomError) -> int:
    return int(status_and_detail(error)[0])


def _detail_of(error: DarkroomError) -> str:
    for kind, server in _SERVERS.items():
        if isinstance(error, kind):
            return f"{server} does not serve this page now. darkroom doctor on the server says why."
    return status_and_detail(error)[1]


def _log_failure(request: web.Request, name: str, error: Exception) -> None:
    incidents.record_failure(
        "request_failed",
        f"{request.method} console {name}",
        repr(error),
        level="error",
        exc_info=error,
    )
