"""The two limits of Kie, and a throttle without Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.redis.deliveries import connect_redis
from shared.errors import RedisDown
from worker.batching.redis_scripts import RedisScripts
from worker.limits.throttle import (
    WINDOW_MARGIN_MS,
    Limit,
    Throttle,
    Throttled,
    poll_limit,
    submit_limit,
)


def test_polls_are_limited_per_task_and_second() -> None:
    limit = poll_limit(3, 8)
    assert (limit.requests, limit.window_ms) == (3, 1_000)
    assert limit.key("a") != limit.key("b")


def test_submits_are_limited_per_10_seconds_and_count_longer_than_a_post_may_take() -> None:
    limit = submit_limit(20, 30.0)
    assert (limit.requests, limit.window_ms) == (20, 10_000)
    assert limit.horizon_ms >= 30_000 + limit.window_ms + WINDOW_MARGIN_MS


def test_the_logs_of_polls_and_submits_are_apart() -> None:
    assert poll_limit(3, 8).key("kie") != submit_limit(20, 30).key("kie")


def test_no_limit_has_no_log() -> None:
    assert submit_limit(0, 30).key("kie") == ""


def test_throttled_says_how_long_to_wait() -> None:
    assert Throttled(0.25).wait_seconds == 0.25
    assert "0.250 s" in str(Throttled(0.25))


async def test_without_a_limit_no_redis_is_asked(tmp_path: Path) -> None:
    sent = False
    async with connect_redis(f"unix://{tmp_path}/nobody.sock") as redis:
        throttle = Throttle(RedisScripts(redis), Limit("x", 0, 1_000, 10_000))
        async with throttle.permit("a"):
            sent = True
    assert sent


async def test_redis_down_raises_and_sends_nothing(tmp_path: Path) -> None:
    sent = False
    async with connect_redis(f"unix://{tmp_path}/nobody.sock") as redis:
        throttle = Throttle(RedisScripts(redis), poll_limit(3, 8))
        with pytest.raises(RedisDown, match="Redis does not answer"):
            async with throttle.permit("a"):
                sent = True
    assert not sent
