"""Event feeds for tests of the producer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from producer.live.event_feed import EventFeed
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue, open_redis
from tests.integration.producer.event_stream_reader import BY_PUSH_ALONE, BY_READING, open_feed


@pytest.fixture
async def push_feed(database: Database, redis: ArqRedis) -> AsyncIterator[EventFeed]:
    """A feed that reads only after an announcement."""
    async with open_feed(database, DeliveryQueue(redis), BY_PUSH_ALONE) as feed:
        yield feed


@pytest.fixture
async def polling_feed(database: Database, tmp_path: Path) -> AsyncIterator[EventFeed]:
    """A feed without Redis, which reads many times a second."""
    redis = open_redis(f"unix://{tmp_path}/nobody.sock")
    async with open_feed(database, DeliveryQueue(redis), BY_READING) as feed:
        yield feed
    await redis.aclose(close_connection_pool=True)
