"""Fixtures of the producer's rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from producer.live.event_feed import EventFeed
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue, open_redis
from tests.integration.producer.event_stream_reader import BY_PUSH_ALONE, BY_READING, feed_over


@pytest.fixture
async def pushed(database: Database, redis: ArqRedis) -> AsyncIterator[EventFeed]:
    """A feed that hears what is pushed, and never looks by itself."""
    async with feed_over(database, DeliveryQueue(redis), BY_PUSH_ALONE) as feed:
        yield feed


@pytest.fixture
async def looking(database: Database, tmp_path: Path) -> AsyncIterator[EventFeed]:
    """A feed without Redis, which looks many times a second."""
    redis = open_redis(f"unix://{tmp_path}/nobody.sock")
    async with feed_over(database, DeliveryQueue(redis), BY_READING) as feed:
        yield feed
    await redis.aclose(close_connection_pool=True)
