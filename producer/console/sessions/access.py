"""Finds the visitor of a request, and refuses roles and forged forms."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from aiohttp import web

from producer.api.access.direct_requests import explain_indirect
from producer.api.responses.http_errors import Forbidden, KeyNeeded
from producer.console.sessions.request_origin import explain_foreign
from producer.console.sessions.session_cookie import read_session_tokens
from producer.console.sessions.visitor import Visitor
from producer.keys.key_store import LOCAL_ADMIN, KeyStore
from producer.keys.roles import Role
from producer.keys.session_store import SessionStore

FORM_TOKEN_FIELD = "form_token"  # noqa: S105
_LOOPBACK_SECRET = secrets.token_bytes(32)
"""What form tokens are made from while no key exists. Another process makes others."""
_NEXT_PATH = re.compile(r"(?!.*\.\.)/console(?:[/?][!-\[\]-~]*)?")


class LoginNeeded(Exception):
    """The request has no session that holds."""


async def visitor_of(keys: KeyStore, sessions: SessionStore, request: web.Request) -> Visitor:
    """Return the visitor of a request.

    Raises `LoginNeeded`. While no key was ever created, every direct request to the loopback
    address is allowed, as over HTTP. Others raise `KeyNeeded`.
    """
    if not await keys.has_any_key():
        explanation = explain_indirect(request)
        if explanation is not None:
            raise KeyNeeded(explanation)
        return Visitor(LOCAL_ADMIN, None, _LOOPBACK_SECRET)
    for token in read_session_tokens(request):
        session = await sessions.find(token)
        if session is not None:
            return Visitor(session.caller, session.id, token.encode())
    raise LoginNeeded


def require_role(visitor: Visitor, roles: frozenset[Role]) -> None:
    """Raise `Forbidden` if the visitor has none of the roles."""
    if visitor.caller.role not in roles:
        allowed = ", ".join(role.value for role in Role if role in roles)
        raise Forbidden(f"the role {visitor.caller.role} may not do this; allowed: {allowed}")


def require_own_page(request: web.Request) -> None:
    """Raise `Forbidden` if the form was sent by another web page."""
    explanation = explain_foreign(request)
    if explanation is not None:
        raise Forbidden(f"this form was not accepted: {explanation}")


def require_form_token(visitor: Visitor, form: Mapping[str, str]) -> None:
    """Raise `Forbidden` if the form has no token of this session."""
    if not visitor.accepts_form_token(form.get(FORM_TOKEN_FIELD, "")):
        raise Forbidden(
            "this form was not accepted: it is of another login, or of an earlier run of the API;"
            " go back, reload the page and send it again"
        )


def next_path(given: str | None) -> str:
    """Return the path to open after a login: `given` if it is one of the console, or the start."""
    return given if given is not None and _NEXT_PATH.fullmatch(given) else "/console"
