"""Runs the Lua scripts of `worker/lua`: each is one round trip that Redis runs as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from shared.adapters.delivery import translated_redis_errors

Key = str
Argument = str | int | float


@cache
def _source(name: str) -> str:
    return files("worker").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """The scripts by name, bound to one Redis client."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._scripts: dict[str, AsyncScript] = {}

    async def run(self, name: str, keys: Sequence[Key], args: Sequence[Argument]) -> Any:
        """Run `worker/lua/<name>.lua` and return its reply. Raises `RedisDown`."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.redis.register_script(_source(name))
        with translated_redis_errors():
            return await script(keys=keys, args=args)
