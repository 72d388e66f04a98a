"""Reads errors of the Redis client, and turns them into `RedisDown`."""

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

# The client takes these words off the server's answer and makes them a class.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (ReadOnlyError, "READONLY "),
    (BusyLoadingError, "LOADING "),
    (OutOfMemoryError, "OOM "),
    (NoPermissionError, "NOPERM "),
    (NoScriptError, "NOSCRIPT "),
    (ExecAbortError, "EXECABORT "),
)
_ANSWERS = (ResponseError, BusyLoadingError, AuthenticationError)
# The client wraps what the server said about one of many commands, and repeats the command.
_PIPELINE = re.compile(r"^Command # [0-9]+ \(.*?\) of pipeline caused error: \(['\"]", re.DOTALL)
_TOO_MANY_CLIENTS = "max number of clients reached"
_SPOILING = ("READONLY ", "LOADING ", "MASTERDOWN ", "NOREPLICAS ", "NOAUTH ")
_CLOSED_TRANSPORT = "unable to perform operation on <"


@contextmanager
def translated_redis_errors() -> Iterator[None]:
    """Turn the client's errors into `RedisDown`, with the cause kept."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise to_redis_down(error) from error
    except RuntimeError as error:
        # uvloop's word for a connection that was closed while the client was writing to it.
        if _CLOSED_TRANSPORT not in str(error):
            raise
        raise to_redis_down(error) from error


def to_redis_down(error: Exception) -> RedisDown:
    """Return what a client's error means: no answer, or an answer that it cannot be done now."""
    what = "cannot do this now" if is_server_reply(error) else "does not answer"
    return RedisDown(f"Redis {what}: {error_text(error)}")


def error_text(error: Exception) -> str:
    """Return the server's own words, its code in front, or what went wrong on the way to it."""
    error = _answer_of(error)
    text = _PIPELINE.sub("", str(error)).removesuffix("',)").removesuffix('",)')
    text = text or type(error).__name__
    return next((code for kind, code in _CODES if isinstance(error, kind)), "") + text


def is_server_reply(error: Exception) -> bool:
    """Return whether the server answered, and said that it cannot do this."""
    return isinstance(_answer_of(error), _ANSWERS) or _TOO_MANY_CLIENTS in str(error)


def _answer_of(error: Exception) -> Exception:
    """Return the server's answer where it came while a connection was being made."""
    while error.args and isinstance(error.args[0], RedisError):
        error = error.args[0]
    return error


def requires_reconnect(error: RedisError) -> bool:
    """Return whether another connection may reach a server that can do it."""
    return error_text(error).startswith(_SPOILING)
