"""The URL that Kie calls back: its route, and the token of the attempt in it."""

from __future__ import annotations

ROUTE = "/callbacks/kie/{token}"


def callback_url(base: str | None, token: str) -> str | None:
    """Return the callback URL of an attempt, or None where no callbacks are configured."""
    return f"{base}{ROUTE.format(token=token)}" if base else None


def has_token(url: str, token: str) -> bool:
    """Return whether the URL is a callback URL with this token, under any base."""
    return url.rstrip("/").endswith(ROUTE.format(token=token))
