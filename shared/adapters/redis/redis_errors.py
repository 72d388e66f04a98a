"""Classifies errors of the Redis client, and translates them to `RedisDown`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ExecAbortError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from shared.errors import RedisDown

# The client removes these codes from the server's message, and uses a class instead.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (ReadOnlyError, "READONLY "),
    (BusyLoadingError, "LOADING "),
    (OutOfMemoryError, "OOM "),
    (NoPermissionError, "NOPERM "),
    (NoScriptError, "NOSCRIPT "),
    (ExecAbortError, "EXECABORT "),
)
_ANSWERS = (ResponseError, BusyLoadingError, AuthenticationError)
# The client's prefix of an error in a pipeline.
_PIPELINE = re.compile(r"^Command # [0-9]+ \(.*?\) of pipeline caused error: \(['\"]", re.DOTALL)
_TOO_MANY_CLIENTS = "max number of clients reached"
_SPOILING = ("READONLY ", "LOADING ", "MASTERDOWN ", "NOREPLICAS ", "NOAUTH ", "MOVED ")
_SCRIPT_NOPERM = "ACL failure in script"
_RULES = (
    " (the user of REDIS_URL lacks a command, key or channel: `ACL LOG` of the server names it, and"
    " the rules are in docs/deployment.md, The Redis user)"
)
CLOSED_WITHOUT_TLS = "before the login was answered"
CLOSED_WITH_TLS = "after the TLS handshake, before the login was answered"
NO_HANDSHAKE = "there was no TLS handshake"
NO_SENTINEL_REPLY = "no reply in time"
_SCHEMES = "rediss:// is for a server with TLS, redis:// for one without"
_ABOUT_THE_URL = {
    "invalid username-password pair": "the login",
    "Authentication required": "the login",
    "AUTH <password> called without any password": "the login",
    "DB index is out of range": "the database number",
    "SELECT is not allowed in cluster mode": "the database number",
    "certificate verify failed": "ssl_ca_certs, or the host",
    "Timeout connecting to server": f"the host, the port, or the scheme: {_SCHEMES}",
    NO_SENTINEL_REPLY: f"the host, the port, or the scheme: {_SCHEMES}",
    NO_HANDSHAKE: "the scheme: if the server has no TLS, say redis://",
    CLOSED_WITH_TLS: "ssl_certfile and ssl_keyfile, if the server asks for a certificate",
    CLOSED_WITHOUT_TLS: "the scheme: if the server has TLS, say rediss://",
    # How a record of TLS begins, as some servers answer to a client without it.
    r'"\x15" as reply type byte': "the scheme: the server has TLS, say rediss://",
    "as reply type byte": "the host or the port: what answers there is no Redis",
}
"""Words of the server or the client, and the part of the URL to which they belong."""
_CLOSED_TRANSPORT = "unable to perform operation on <"


@contextmanager
def translated_redis_errors() -> Iterator[None]:
    """Translate errors of the client to `RedisDown`, with the error as cause."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise to_redis_down(error) from error
    except RuntimeError as error:
        # uvloop's error for a write to a closed connection.
        if _CLOSED_TRANSPORT not in str(error):
            raise
        raise to_redis_down(error) from error


def to_redis_down(error: Exception) -> RedisDown:
    """Return `RedisDown` for an error of the client."""
    what = "cannot do this now" if is_server_reply(error) else "does not answer"
    text = error_text(error)
    lacking = _RULES if text.startswith("NOPERM ") or _SCRIPT_NOPERM in text else ""
    return RedisDown(f"Redis {what}: {text}{lacking or _name_part(text)}")


def _name_part(text: str) -> str:
    """Return which part of REDIS_URL the error is about, if it is known."""
    parts = (part for words, part in _ABOUT_THE_URL.items() if words in text)
    return next((f" (in REDIS_URL: {part})" for part in parts), "")


def error_text(error: Exception) -> str:
    """Return the server's message with its code, or the client's own message."""
    error = _answer_of(error)
    text = _PIPELINE.sub("", str(error)).removesuffix("',)").removesuffix('",)')
    text = text or type(error).__name__
    return next((code for kind, code in _CODES if isinstance(error, kind)), "") + text


def is_server_reply(error: Exception) -> bool:
    """Return whether the server replied with an error."""
    return isinstance(_answer_of(error), _ANSWERS) or _TOO_MANY_CLIENTS in str(error)


def _answer_of(error: Exception) -> Exception:
    """Return the server's error if the client has wrapped it while connecting."""
    while error.args and isinstance(error.args[0], RedisError):
        error = error.args[0]
    return error


def requires_reconnect(error: RedisError) -> bool:
    """Return whether a new connection may reach a server that can run the command."""
    return error_text(error).startswith(_SPOILING)
