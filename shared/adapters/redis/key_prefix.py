"""Puts REDIS_PREFIX before every key and channel of a command.

Commands are changed where a connection encodes them, so no caller can forget the prefix. Replies
and messages contain no names of keys, except the channel of a message.
"""

from __future__ import annotations

from typing import Any

_EVERY_ARGUMENT = frozenset({"DEL", "EXISTS", "SUBSCRIBE", "UNSUBSCRIBE"})
_FIRST_ARGUMENT = frozenset(
    {
        *("GET", "SET", "PUBLISH"),
        *("HDEL", "HGET", "HGETALL", "HLEN", "HMGET", "HSET", "HSETNX"),
        *("ZMSCORE", "ZRANGE", "ZREM"),
    }
)
_COUNTED_ARGUMENTS = frozenset({"EVALSHA"})
_NO_KEYS = frozenset({"INFO", "PING", "SCRIPT", "SELECT", "TIME"})
COMMANDS = _EVERY_ARGUMENT | _FIRST_ARGUMENT | _COUNTED_ARGUMENTS | _NO_KEYS
"""What Darkroom sends, beside its logins."""
_LOGINS = frozenset({"AUTH", "CLIENT", "HELLO"})
_ARQ_FIRST_ARGUMENT = frozenset({"EXPIRE", "INCR", "PEXPIRE", "SETEX", "ZINCRBY"})
"""What arq sends besides, to run a delivery that another program has added."""
_ARQ_NO_KEYS = frozenset({"MULTI", "EXEC"})


def prefix_keys(prefix: str, command: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the command with the prefix before each of its keys and channels.

    Raises `ValueError` for a command whose keys are not known.
    """
    name = str(command[0]).partition(" ")[0].upper()
    if name in _NO_KEYS | _LOGINS | _ARQ_NO_KEYS:
        return command
    if name in _FIRST_ARGUMENT | _ARQ_FIRST_ARGUMENT:
        return (command[0], _prefixed(prefix, command[1]), *command[2:])
    if name in _EVERY_ARGUMENT:
        return (command[0], *(_prefixed(prefix, key) for key in command[1:]))
    if name in _COUNTED_ARGUMENTS:
        end = 3 + int(command[2])
        keys = (_prefixed(prefix, key) for key in command[3:end])
        return (*command[:3], *keys, *command[end:])
    raise ValueError(f"the keys of {name} are not known: add it to {__name__}")


def _prefixed(prefix: str, key: str | bytes) -> str | bytes:
    return prefix.encode() + key if isinstance(key, bytes) else prefix + key
