"""Subscribes to a Redis channel on a separate connection, and detects a dead connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import RedisDown
from shared.redis_keys import ECHO_CHANNEL_PREFIX

LISTEN_SECONDS = 5.0
"""The maximum duration of one read without a message."""


@dataclass(frozen=True, slots=True)
class SubscriptionCheck:
    """How a subscription checks that messages still arrive."""

    interval_seconds: float = 15.0
    """The time without a message after which the subscription publishes a message to itself."""
    deadline_seconds: float = 5.0
    """How long that message may take before the connection counts as dead."""


SUBSCRIPTION_CHECK = SubscriptionCheck()


@asynccontextmanager
async def subscribed(
    redis: Redis, channel: str, check: SubscriptionCheck = SUBSCRIPTION_CHECK
) -> AsyncIterator[AsyncIterator[str]]:
    """Subscribe to a channel on a separate connection, and yield its messages.

    Without messages, the subscription publishes a message to itself at intervals, to check that
    messages arrive. Raises `RedisDown`, also from the iteration.
    """
    pubsub = redis.pubsub()
    echo = ECHO_CHANNEL_PREFIX + token_hex(8)
    try:
        with translated_redis_errors():
            await pubsub.subscribe(channel, echo)
            # The client does not wait for the reply, which may be a refusal.
            if await pubsub.get_message(timeout=LISTEN_SECONDS) is None:
                raise RedisDown(f"Redis does not answer: no reply for {LISTEN_SECONDS:g} s")
        yield _messages(redis, pubsub, echo, check)
    finally:
        # Shielded from cancellation, else the pool would lose the connection.
        await asyncio.shield(_close(pubsub))


async def _close(pubsub: PubSub) -> None:
    with suppress(RedisError, OSError):
        await pubsub.aclose()  # type: ignore[no-untyped-call]


async def _messages(
    redis: Redis, pubsub: PubSub, echo: str, check: SubscriptionCheck
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    is_asked = False
    give_up_at = loop.time() + check.interval_seconds
    while True:
        stop_if_cancelled()
        left_seconds = min(max(give_up_at - loop.time(), 0.001), LISTEN_SECONDS)
        with translated_redis_errors():
            message = await pubsub.get_message(timeout=left_seconds)
        if message is not None:
            is_asked, give_up_at = False, loop.time() + check.interval_seconds
            # The channel begins with REDIS_PREFIX.
            if message["type"] == "message" and not message["channel"].endswith(echo.encode()):
                yield message["data"].decode(errors="replace")
        elif loop.time() < give_up_at:
            continue
        elif is_asked:
            raise RedisDown(
                "the subscription is dead: nothing has arrived on it for"
                f" {check.interval_seconds + check.deadline_seconds:g} s"
            )
        else:
            # Published on a connection of the pool, as other publishers do.
            with translated_redis_errors():
                await redis.publish(echo, b"")
            is_asked, give_up_at = True, loop.time() + check.deadline_seconds
