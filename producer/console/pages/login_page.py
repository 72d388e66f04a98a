"""Login with an API key, and logout."""

from __future__ import annotations

from aiohttp import web

from producer.actor import Actor
from producer.console.page import CONSOLE, VIEWERS, ConsoleContext, PageView
from producer.console.page_rendering import PageRenderer, redirect_response
from producer.console.posted_form import read_posted_form
from producer.console.sessions.access import (
    LoginNeeded,
    next_path,
    require_form_token,
    require_own_page,
    visitor_of,
)
from producer.console.sessions.request_origin import is_encrypted
from producer.console.sessions.session_cookie import clear_session_cookies, set_session_cookie
from producer.keys.key_store import Caller
from producer.keys.roles import Role
from shared.adapters.http.forwarding import client_address, client_network, root_path_of
from shared.errors import KeyRefused

_NOT_ACCEPTED = "This key was not accepted: it is mistyped, revoked, or of another installation."


class LoginPages:
    """The pages that need no session."""

    def __init__(self, context: ConsoleContext, renderer: PageRenderer) -> None:
        self._context = context
        self._renderer = renderer

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show the form, or lead on if the visitor has a session or needs none."""
        try:
            await visitor_of(self._context.api.keys, self._context.sessions, request)
        except LoginNeeded:
            return self._form(request, next_path(request.query.get("next")))
        return redirect_response(next_path(request.query.get("next")))

    async def log_in(self, request: web.Request) -> web.StreamResponse:
        """Check the key, and open a session. Its token is new, whatever cookie was sent."""
        require_own_page(request)
        form = await read_posted_form(request)
        path = next_path(form.values.get("next"))
        if not await self._context.api.keys.has_any_key():
            return redirect_response(path)
        network = client_network(request)
        attempts = self._context.login_attempts
        seconds = await attempts.seconds_until_allowed(network)
        if seconds is not None:
            text = f"Too many logins have failed. Try again in {seconds} s."
            response = self._form(request, path, text, status=429)
            response.headers["Retry-After"] = str(seconds)
            return response
        key = form.values.get("key", "")
        try:
            caller = await self._context.api.keys.authenticate(key)
            if caller.role not in VIEWERS:
                return self._form(request, path, _explain_service_key(caller), status=403)
            token = await self._open_session(request, caller)
        except KeyRefused as refused:
            await attempts.record_failure(
                refused,
                key,
                network=network,
                address=client_address(request),
                user_agent=_user_agent(request),
            )
            return self._form(request, path, _NOT_ACCEPTED, status=401)
        response = redirect_response(path)
        clear_session_cookies(response, root_path_of(request))
        set_session_cookie(
            response, token, secure=is_encrypted(request), root_path=root_path_of(request)
        )
        return response

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        require_own_page(request)
        form = await read_posted_form(request)
        visitor = await visitor_of(self._context.api.keys, self._context.sessions, request)
        require_form_token(visitor, form.values)
        if visitor.session_id is not None:
            actor = _actor_of(visitor.caller, request)
            await self._context.sessions.end(visitor.session_id, actor=actor)
        response = redirect_response(f"{CONSOLE}/login")
        clear_session_cookies(response, root_path_of(request))
        return response

    async def _open_session(self, request: web.Request, caller: Caller) -> str:
        return await self._context.sessions.open(
            caller,
            actor=_actor_of(caller, request),
            address=client_address(request),
            user_agent=_user_agent(request),
        )

    def _form(
        self, request: web.Request, path: str, error: str | None = None, *, status: int = 200
    ) -> web.Response:
        view = PageView("login.html", {"next": path, "error": error}, status=status)
        return self._renderer.render(request, view, title="Log in", section="login", call=None)


def _actor_of(caller: Caller, request: web.Request) -> Actor:
    return Actor(
        f"console:{caller.key_prefix or 'loopback'}",
        via="console",
        is_operator=True,
        key_prefix=caller.key_prefix,
        key_role=caller.role.value if caller.key_prefix is not None else None,
        origin=client_address(request),
    )


def _explain_service_key(caller: Caller) -> str:
    allowed = ", ".join(role.value for role in Role if role in VIEWERS)
    return f"A key of the role {caller.role} is for programs. Log in with one of: {allowed}."


def _user_agent(request: web.Request) -> str:
    text = request.headers.get("User-Agent", "")
    return "".join(one for one in text if one.isprintable() and one.isascii())[:300]
