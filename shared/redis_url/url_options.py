"""The parameters after the `?` of a Redis URL: which are understood, and which are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from urllib.parse import parse_qsl, unquote

from shared.redis_url import tls_options

SENTINEL_NAMES = frozenset({"sentinel_username", "sentinel_password"})
LOGIN_NAMES = frozenset({"username", "password", "client_name"})
IGNORED = frozenset(
    {
        # redis-py
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry_on_timeout"),
        *("health_check_interval", "max_connections", "timeout", "protocol", "decode_responses"),
        *("encoding", "encoding_errors", "socket_read_size"),
        # go-redis, ioredis, Lettuce, StackExchange.Redis
        *("dial_timeout", "read_timeout", "write_timeout", "pool_size", "pool_timeout"),
        *("min_idle_conns", "max_retries", "family", "connecttimeout", "synctimeout"),
        *("abortconnect", "connect_timeout"),
    }
)
"""Options of clients that Darkroom sets by itself. They are left out with a warning."""
_HINTS = {
    "ssl": "say rediss:// for TLS, redis:// for none",
    "tls": "say rediss:// for TLS, redis:// for none",
    "skip_verify": "say ssl_cert_reqs=none to trust any certificate",
    "prefix": "set REDIS_PREFIX instead",
    "key_prefix": "set REDIS_PREFIX instead",
    "keyprefix": "set REDIS_PREFIX instead",
    "addr": "a cluster is reached by any one of its nodes, and Sentinels by redis+sentinel://",
}
_SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
_TLS_FLAGS = frozenset({"ssl", "tls"})
_NOT_TEXT = "the URL has escapes (%) that are not the bytes of text in UTF-8"
PREFIX = "darkroom_prefix"
"""By which a process keeps REDIS_PREFIX beside the URL. Not for users."""


def read_options(query: str, *, has_tls: bool, names: frozenset[str]) -> dict[str, str]:
    """Return the parameters that are understood. Raises `ValueError` for any other one."""
    allowed = names | LOGIN_NAMES | {PREFIX} | (tls_options.NAMES if has_tls else frozenset())
    options: dict[str, str] = {}
    for name, value in _pairs(query):
        if name in allowed:
            if value:
                options[name] = value
        elif has_tls and name.lower() in _TLS_FLAGS and value.lower() in tls_options.TRUE:
            continue
        elif name.lower() not in IGNORED:
            raise ValueError(_describe_unknown(name, allowed))
    return options


def find_ignored(query: str) -> list[str]:
    """Return the parameters that Darkroom leaves out, because it sets them by itself."""
    return sorted({name for name, _ in _pairs(query) if name.lower() in IGNORED})


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(_NOT_TEXT) from None


def decode(text: str) -> str:
    """Return the text without its escapes. Raises `ValueError` without a part of it."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(_NOT_TEXT) from None


def _describe_unknown(name: str, allowed: frozenset[str]) -> str:
    # What follows an unescaped `?` may be a password.
    shown = repr(name) if _SHOWN.fullmatch(name) else "of that name (it has special characters)"
    if name in tls_options.NAMES:
        return f"the URL has {shown}, which needs TLS: say rediss://; a socket has none"
    hint = _HINTS.get(name.lower())
    if hint is not None:
        return f"the URL has no parameter {shown}: {hint}"
    known = sorted(allowed - {PREFIX})
    nearest = get_close_matches(name.lower(), sorted({*known, *tls_options.NAMES, *IGNORED}), 1)
    meant = f" (nearest: {nearest[0]})" if nearest else ""
    return f"the URL has no parameter {shown}{meant}; allowed are {', '.join(known)}"


def login_of(
    options: Mapping[str, str], user: str | None, password: str | None
) -> tuple[str | None, str | None]:
    """Return the user and the password: those before the host, or those of the parameters."""
    return user or options.get("username"), password or options.get("password")
