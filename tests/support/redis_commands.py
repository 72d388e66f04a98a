"""Counts the commands that clients of a Redis send, and finds keys of scripts, with MONITOR."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path

from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_tasks

_ROOT = Path(__file__).parents[2]
_SCRIPTS = {
    # Redis names scripts by SHA-1.
    sha1(path.read_bytes(), usedforsecurity=False).hexdigest(): path.stem
    for path in (*_ROOT.glob("worker/lua/*.lua"), *_ROOT.glob("shared/lua/*.lua"))
}


@dataclass(slots=True)
class RedisCommands:
    """The commands of a time."""

    sent: Counter[str] = field(default_factory=Counter)
    """By command and its first argument; those of a script by its name."""
    in_scripts: int = 0
    """The commands that scripts have run."""
    undeclared: set[str] = field(default_factory=set)
    """By script and command: the keys and channels that a script has used and was not told."""
    _script: str = ""
    _declared: set[str] = field(default_factory=set)

    def add(self, command: str) -> None:
        """Count a command that a client has sent."""
        words = command.split(" ")
        if words[0].upper() != "EVALSHA":
            self.sent[" ".join(words[:2])] += 1
            return
        # Redis tells a script before its commands, and runs no others between them.
        self._script = _SCRIPTS.get(words[1], words[1])
        self._declared = set(words[3 : 3 + int(words[2])])
        self.sent[self._script] += 1

    def add_in_script(self, command: str) -> None:
        """Count a command of the script that was added last."""
        self.in_scripts += 1
        name, *arguments = command.split(" ")
        if name in {"TIME"}:
            return
        used = arguments if name in {"DEL", "EXISTS"} else arguments[:1]
        self.undeclared |= {f"{self._script}: {name} {k}" for k in used if k not in self._declared}


@asynccontextmanager
async def counted_redis_commands(redis: Redis) -> AsyncIterator[RedisCommands]:
    """Count the commands that all clients send during the block."""
    commands = RedisCommands()

    async def count() -> None:
        async for command in monitor.listen():
            if command["client_type"] == "lua":
                commands.add_in_script(command["command"])
            else:
                commands.add(command["command"])

    async with redis.monitor() as monitor:
        counting = asyncio.create_task(count())
        try:
            yield commands
        finally:
            await stop_tasks([counting])
