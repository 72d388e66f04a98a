"""The guard band: how much longer than its window a request counts, for the sake of clocks."""

from __future__ import annotations

import asyncio

from arq.connections import ArqRedis

from worker.batching.redis_scripts import RedisScripts
from worker.limits.throttle import Limit, Throttle

WINDOW_MS = 10_000
HORIZON_MS = 60_000
# Two readings of a clock that ticks in whole milliseconds, and one part in a thousand of drift
# over the longest window.
CLOCK_ERROR_MS = 2 + WINDOW_MS / 1_000


async def test_an_answered_request_counts_for_longer_than_the_window_by_what_clocks_may_err(
    redis: ArqRedis, scripts: RedisScripts
) -> None:
    throttle = Throttle(scripts, Limit("test:log", 1, WINDOW_MS, HORIZON_MS))
    async with throttle.permit("task"):
        answered_ms = await _server_ms(redis)
    counts_until_ms = await _end_of_count(redis, until_answered_ms=answered_ms + HORIZON_MS / 2)
    assert counts_until_ms - answered_ms >= WINDOW_MS + CLOCK_ERROR_MS


async def _end_of_count(redis: ArqRedis, until_answered_ms: float) -> float:
    """Return until when the request counts, once it is marked as answered."""
    async with asyncio.timeout(10):
        while True:
            ((_, score),) = await redis.zrange("test:log:task", 0, -1, withscores=True)
            if score < until_answered_ms:
                return float(score)


async def _server_ms(redis: ArqRedis) -> float:
    seconds, microseconds = await redis.time()
    return float(seconds * 1_000 + microseconds / 1_000)
