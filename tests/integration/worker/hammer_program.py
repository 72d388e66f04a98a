"""A process that polls one task as fast as the throttle allows, until it is killed.

    python hammer_program.py REDIS_URL PROVIDER_PORT [--counting-grants]

With `--counting-grants` it uses a wrong limiter, which does not consider that a granted request
may arrive later.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.redis.lua_scripts import load_script
from worker.batching.redis_scripts import Argument, Key, RedisScripts
from worker.limits.throttle import Limit, Throttle, Throttled

COROUTINES = 4
# As for Kie's polls, but what a killed process has sent counts for less long: there are many
# kills in a few seconds, and no way here is longer than 0.6 s.
LIMIT = Limit("test:m8", 3, 1_000, 2_000)


class GrantCounting(RedisScripts):
    """The scripts with the rule removed: a grant counts for a window, answered or not."""

    async def run(
        self,
        name: str,
        keys: Sequence[Key],
        args: Sequence[Argument],
        items: Sequence[Argument] | None = None,
        *,
        may_wait: bool = False,
    ) -> Any:
        """Run the mutated script."""
        if name == "throttle_answered":
            return 1
        source = load_script("worker", name).source
        mutant = source.replace("'ZADD', log, now + horizon", "'ZADD', log, now + window")
        assert mutant != source, "the rule that this mutant removes stands elsewhere now"
        given = [*args] if items is None else [*args, json.dumps(items)]
        return await self.redis.register_script(mutant)(keys=keys, args=given)


async def hammer(throttle: Throttle, port: int) -> None:
    """Send a request. Where the throttle refuses, wait as long as it returns."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        try:
            async with throttle.permit("task"):
                writer.write(b"?")
                if not await reader.read(1):
                    return
        except Throttled as throttled:
            await asyncio.sleep(throttled.wait_seconds)


async def main(redis_url: str, port: int, scripts: type[RedisScripts]) -> None:
    """Hammer with several coroutines at once."""
    async with connect_redis(redis_url) as redis:
        throttle = Throttle(scripts(redis), LIMIT)
        await asyncio.gather(*(hammer(throttle, port) for _ in range(COROUTINES)))


if __name__ == "__main__":
    chosen = GrantCounting if "--counting-grants" in sys.argv else RedisScripts
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), chosen))
