"""The cookie that carries the token of a session."""

from __future__ import annotations

from aiohttp import web

COOKIE = "darkroom_session"
SECURE_COOKIE = "__Host-darkroom_session"
"""The name over https. Browsers accept it from this host alone, over https alone."""
SECURE_PATH_COOKIE = "__Secure-darkroom_session"
"""The name over https below a root path. Browsers accept `__Host-` for the path `/` alone."""


def read_session_tokens(request: web.BaseRequest) -> list[str]:
    """Return the tokens of the request, the more trusted one first."""
    cookies = request.cookies
    names = (SECURE_COOKIE, SECURE_PATH_COOKIE, COOKIE)
    return [cookies[name] for name in names if cookies.get(name)]


def set_session_cookie(
    response: web.StreamResponse, token: str, *, secure: bool, root_path: str = ""
) -> None:
    """Give the browser the token. It is sent over https alone if `secure` is set.

    No script reads it, and no other site's form sends it. It ends with the browser's session. Below
    a root path, other programs of the same host do not receive it.
    """
    secure_name = SECURE_PATH_COOKIE if root_path else SECURE_COOKIE
    name = secure_name if secure else COOKIE
    response.set_cookie(
        name, token, path=root_path or "/", httponly=True, samesite="Lax", secure=secure
    )


def clear_session_cookies(response: web.StreamResponse, root_path: str = "") -> None:
    """Remove the token from the browser."""
    path = root_path or "/"
    secure_name = SECURE_PATH_COOKIE if root_path else SECURE_COOKIE
    response.del_cookie(COOKIE, path=path, httponly=True, samesite="Lax")
    response.del_cookie(secure_name, path=path, httponly=True, samesite="Lax", secure=True)
