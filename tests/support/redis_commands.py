"""Counts the commands that the clients of a Redis send, with MONITOR."""

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

    def add(self, command: str) -> None:
        """Count a command that a client has sent."""
        words = command.split(" ", 2)
        is_script = words[0].upper() == "EVALSHA"
        self.sent[_SCRIPTS.get(words[1], words[1]) if is_script else " ".join(words[:2])] += 1


@asynccontextmanager
async def counted_redis_commands(redis: Redis) -> AsyncIterator[RedisCommands]:
    """Count the commands that all clients send during the block."""
    commands = RedisCommands()

    async def count() -> None:
        async for command in monitor.listen():
            if command["client_type"] == "lua":
                commands.in_scripts += 1
            else:
                commands.add(command["command"])

    async with redis.monitor() as monitor:
        counting = asyncio.create_task(count())
        try:
            yield commands
        finally:
            await stop_tasks([counting])
