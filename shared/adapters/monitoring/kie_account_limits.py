"""Reads from Redis how much of its submit limit each Kie account uses, and its brake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.redis_keys import SUBMIT_LOG_PREFIX, brake_key, submit_log_name


@dataclass(frozen=True, slots=True)
class KieAccountLimits:
    """The submit limit and the brake of one Kie account."""

    budget_used: int
    """The submits that count in the window of 10 s, including those that are permitted and not
    answered."""
    brake_level: int
    """0 if submits are not slowed down."""
    is_paused: bool
    """Whether submits are paused now. After a pause, the brake lets one job through at a time."""


async def read_kie_account_limits(
    redis: Redis, accounts: Sequence[str]
) -> dict[str, KieAccountLimits]:
    """Return the limits of these accounts, in one round trip. Raises `RedisDown`."""
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        pipe.time()
        for name in accounts:
            pipe.zrange(f"{SUBMIT_LOG_PREFIX}:{submit_log_name(name)}", 0, -1, withscores=True)
            pipe.hmget(brake_key(name), ["level", "until"])
        (seconds, microseconds), *found = await pipe.execute()
    now_ms = seconds * 1000 + microseconds // 1000
    return {
        name: KieAccountLimits(
            budget_used=sum(score > now_ms for _, score in log),
            brake_level=int(level or 0),
            is_paused=int(level or 0) > 0 and float(until or 0) > now_ms,
        )
        for name, log, (level, until) in zip(accounts, found[::2], found[1::2], strict=True)
    }
