"""Reads from Redis how much of its submit limit each Kie account uses, its brake and its rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis

from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain.alerts.system_state import SubmitRate
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
    rate_in_force: int | None
    """The submits per 10 s that workers allow, where they are slowed down; else None."""


async def read_kie_account_limits(
    redis: Redis, accounts: Sequence[str]
) -> dict[str, KieAccountLimits]:
    """Return the limits of these accounts, in one round trip. Raises `RedisDown`."""
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        pipe.time()
        for name in accounts:
            pipe.zrange(f"{SUBMIT_LOG_PREFIX}:{submit_log_name(name)}", 0, -1, withscores=True)
            pipe.hgetall(brake_key(name))
        (seconds, microseconds), *found = await pipe.execute()
    now_ms = seconds * 1000 + microseconds // 1000
    return {
        name: _limits(log, decode_hash(brake), now_ms)
        for name, log, brake in zip(accounts, found[::2], found[1::2], strict=True)
    }


def _limits(
    log: Sequence[tuple[bytes, float]], brake: Mapping[str, str], now_ms: int
) -> KieAccountLimits:
    rate, now = parse_submit_rate(brake), _timestamp(now_ms)
    level = int(brake.get("level", "0"))
    return KieAccountLimits(
        budget_used=sum(score > now_ms for _, score in log),
        brake_level=level,
        is_paused=level > 0 and float(brake.get("until", "0")) > now_ms,
        rate_in_force=rate.in_force(now) if rate is not None and rate.is_slowed(now) else None,
    )


def decode_hash(values: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return a hash of Redis as text."""
    return {name.decode(): value.decode(errors="replace") for name, value in values.items()}


def parse_submit_rate(brake: Mapping[str, str]) -> SubmitRate | None:
    """Return the rate in the hash of an account, or None if Kie was not too busy lately."""
    if "rate" not in brake:
        return None
    return SubmitRate(
        rate_after_refusal=float(brake["rate"]),
        limit=int(float(brake["rate_limit"])),
        grows_at=_timestamp(float(brake["rate_grows_at"])),
        growth_per_second=float(brake["rate_step"]) * 1000,
        reason=brake["rate_reason"],
        message=brake["rate_message"],
        since=_timestamp(float(brake["rate_since"])),
    )


def _timestamp(epoch_ms: float) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
