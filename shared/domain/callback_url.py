"""The URL that Kie calls back, with the token of the attempt in it, and its probe. Pure."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from shared.domain.public_addresses import find_url_fault

ROUTE = "/callbacks/kie/{token}"
PROBE_ROUTE = "/callbacks/kie/probe"
"""A POST with `probe` gets an answer by which the doctor recognises the worker. No attempt has this
token."""
_KIE_DOMAIN = "kie.ai"


def callback_url(base: str | None, token: str) -> str | None:
    """Return the callback URL of an attempt, or None where no callbacks are configured.

    The path of `base` precedes the route, and its query is kept.
    """
    if not base:
        return None
    parts = urlsplit(base)
    path = parts.path.rstrip("/") + ROUTE.format(token=token)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def has_token(url: str, token: str) -> bool:
    """Return whether the URL is a callback URL with this token, under any base."""
    path = url.partition("#")[0].partition("?")[0]
    return path.rstrip("/").endswith(ROUTE.format(token=token))


def is_kie(base_url: str) -> bool:
    """Return whether `KIE_BASE_URL` is the real Kie."""
    host = (urlsplit(base_url).hostname or "").removesuffix(".")
    return f".{host}".endswith(f".{_KIE_DOMAIN}")


def find_callback_url_fault(base: str, kie_base_url: str) -> str | None:
    """Return why the real Kie cannot call back at this base URL, or None."""
    if not is_kie(kie_base_url):
        return None
    fault = find_url_fault(base, allow_loopback=False)
    return None if fault is None else f"{fault}, so that Kie can call it; unset it to poll only"


def is_unencrypted(base: str, kie_base_url: str) -> bool:
    """Return whether the real Kie would send callbacks over plain HTTP."""
    return is_kie(kie_base_url) and urlsplit(base).scheme == "http"


def probe_answer(process_id: UUID, nonce: str) -> str:
    """Return what a worker answers to a probe. Who does not know its id learns nothing from it."""
    return hmac.new(process_id.bytes, nonce.encode(), hashlib.sha256).hexdigest()
