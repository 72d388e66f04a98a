"""The cookie that carries the token of a session."""

from __future__ import annotations

from aiohttp import web

COOKIE = "darkroom_session"
SECURE_COOKIE = "__Host-darkroom_session"
"""The name over https. Browsers accept it from this host alone, over https alone."""


def read_session_tokens(request: web.BaseRequest) -> list[str]:
    """Return the tokens of the request, the more trusted one first."""
    cookies = request.cookies
    return [cookies[name] for name in (SECURE_COOKIE, COOKIE) if cookies.get(name)]


def set_session_cookie(response: web.StreamResponse, token: str, *, secure: bool) -> None:
    """Give the browser the token. It is sent over https alone if `secure` is set.

    No script reads it, and no other site's form sends it. It ends with the browser's session.
    """
    name = SECURE_COOKIE if secure else COOKIE
    response.set_cookie(name, token, path="/", httponly=True, samesite="Lax", secure=secure)


def clear_session_cookies(response: web.StreamResponse) -> None:
    """Remove the token from the browser."""
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Lax")
    response.del_cookie(SECURE_COOKIE, path="/", httponly=True, samesite="Lax", secure=True)
