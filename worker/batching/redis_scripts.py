"""Runs the Lua scripts of `worker/lua`. Calls made at the same time share a round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from shared.adapters.redis.lua_scripts import load_script
from shared.adapters.redis.redis_errors import to_redis_down, translated_redis_errors
from worker.batching.micro_batch import BatchInterval, MicroBatch

_CLOSE_SECONDS = 1.0

Key = str
Argument = str | int | float
_Call = tuple[str, Sequence[Key], Sequence[Argument | bytes]]


class RedisScripts:
    """The scripts by name, over one Redis client. One instance per process shares its batches.

    Calls are sent in the order in which they were made. Redis runs each script as a whole.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._batch: MicroBatch[_Call, Any] = MicroBatch(self._send, interval=BatchInterval())

    async def aclose(self) -> None:
        """Wait until the calls that were made are answered, a second at most."""
        # A call after the client is closed would open a connection again.
        await self._batch.close(_CLOSE_SECONDS)

    async def run(
        self,
        name: str,
        keys: Sequence[Key],
        args: Sequence[Argument],
        items: Sequence[Argument] | None = None,
        *,
        may_wait: bool = False,
    ) -> Any:
        """Run `worker/lua/<name>.lua` and return its reply. Raises `RedisDown`.

        With `may_wait` the call may wait for the interval of a busy worker, or for the next urgent
        call: use it where no caller waits for the reply. A script that takes many items reads them
        as one JSON array from its last argument, because the client needs longer to write a
        hundred arguments than the server to parse one array.
        """
        arguments = args if items is None else (*args, orjson.dumps(items))
        return await self._batch.send_and_wait((name, keys, arguments), is_urgent=not may_wait)

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        with translated_redis_errors():
            replies = await self._pipeline(calls)
            unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                # A restarted Redis has no scripts. A script that is unknown has not run.
                for name in {calls[number][0] for number in unknown}:
                    await self.redis.script_load(load_script("worker", name).source)
                again = await self._pipeline([calls[number] for number in unknown])
                for number, reply in zip(unknown, again, strict=True):
                    replies[number] = reply
        return [_translated(reply) for reply in replies]

    async def _pipeline(self, calls: Sequence[_Call]) -> list[Any]:
        pipe = self.redis.pipeline(transaction=False)
        for name, keys, args in calls:
            pipe.execute_command(
                "EVALSHA", load_script("worker", name).digest, len(keys), *keys, *args
            )
        return await pipe.execute(raise_on_error=False)


def _translated(reply: Any) -> Any:
    if isinstance(reply, RedisError):
        down = to_redis_down(reply)
        down.__cause__ = reply
        return down
    return reply
