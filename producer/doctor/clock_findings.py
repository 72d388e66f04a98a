"""Compares the clocks of this machine, of Redis and of every live process with Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from producer.doctor.finding import Finding
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.server_clock import SKEW_LIMIT_SECONDS, ServerClock, measure_clock
from shared.adapters.processes.process_records import list_processes
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import RedisDown

_FIX = (
    "set the clock by NTP: jobs are decided by Postgres's clock and deliveries by Redis's, but log"
    " dates are wrong, and where it is Postgres's that is wrong, so are deadlines"
)


async def check_clocks(
    queries: Queries, redis_url: str, clock: ServerClock | None = None
) -> Finding:
    """Compare all known clocks with the clock of Postgres. Raises `PostgresDown`."""
    clock = clock or ServerClock()
    await measure_clock(queries, clock)
    skews = {"this machine": clock.skew_seconds}
    if redis_url:
        try:
            async with connect_redis(redis_url, connections=1) as redis:
                skews["Redis"] = (await _redis_time(redis) - clock.now()) / timedelta(seconds=1)
        except RedisDown:
            pass  # another finding reports it
    for process in await list_processes(queries):
        if process.is_alive and process.clock_skew_seconds is not None:
            skews[f"{process.kind} {process.name}"] = process.clock_skew_seconds
    wrong = [
        f"{who} is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
        for who, seconds in skews.items()
        if abs(seconds) > SKEW_LIMIT_SECONDS
    ]
    if wrong:
        return Finding("clocks agree", False, f"against Postgres: {', '.join(wrong)}", _FIX)
    return Finding("clocks agree", True, f"{len(skews)} clocks differ by less than 5 s")


async def _redis_time(redis: Redis) -> datetime:
    with translated_redis_errors():
        seconds, microseconds = await redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
