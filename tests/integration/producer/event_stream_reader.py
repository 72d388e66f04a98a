"""What tests of live events share: an ear that reads frames, and hands that write events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from arq.connections import ArqRedis

from producer import Job, Producer
from producer.live.change_subscription import ChangeSubscription
from producer.live.event_feed import EventFeed
from producer.live.event_reader import FeedIntervals
from shared.adapters.postgres.database import Database, Queries
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.redis_keys import CHANGES_CHANNEL
from tests.support.deployment import eventually, text_to_image

HEAR_SECONDS = 20.0
BY_PUSH_ALONE = FeedIntervals(read_seconds=3_600)
"""No look by itself within any test: what is heard was pushed."""
BY_READING = FeedIntervals(read_seconds=0.05)
INSERT = "INSERT INTO job_events (job_id, event) VALUES ($1, $2)"


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame, as a client's parser gives it."""

    id: str
    event: str
    data: dict[str, Any]


@dataclass(slots=True)
class Ear:
    """Reads Server-Sent Events as the standard says, from bytes in pieces of any size."""

    last_id: str = ""
    heard: list[Heard] = field(default_factory=list)
    comments: int = 0
    retry: str = ""
    is_over: bool = False
    _rest: bytes = b""

    def feed(self, piece: bytes) -> None:
        """Read some more."""
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        for block in blocks:
            self._block(block.decode())

    def _block(self, block: str) -> None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            else:
                self.comments += 1
        self.last_id = fields.get("id", self.last_id)
        self.retry = fields.get("retry", self.retry)
        if "data" in fields:
            heard = Heard(self.last_id, fields["event"], orjson.loads(fields["data"]))
            self.heard.append(heard)

    @property
    def words(self) -> list[str]:
        """The events in the order heard."""
        return [one.event for one in self.heard]

    @property
    def ids(self) -> list[int]:
        """The ids of the events in the order heard."""
        return [one.data["id"] for one in self.heard]

    async def hears(self, count: int) -> None:
        """Wait until so many events were heard."""

        async def enough() -> bool:
            return len(self.heard) >= count

        await eventually(enough, f"{count} events are heard", HEAR_SECONDS)

    async def is_told_all(self) -> None:
        """Wait until the stream has ended."""

        async def over() -> bool:
            return self.is_over

        await eventually(over, "the stream ends", HEAR_SECONDS)

    async def listen(self, frames: AsyncIterator[bytes]) -> None:
        """Read frames until they end."""
        async for frame in frames:
            self.feed(frame)
        self.is_over = True


@asynccontextmanager
async def listening_to(frames: AsyncIterator[bytes] | None) -> AsyncIterator[Ear]:
    """Listen in the background for as long as the block lasts."""
    assert frames is not None
    ear = Ear()
    task = asyncio.create_task(ear.listen(frames))
    try:
        yield ear
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def job_ear(feed: EventFeed, job_id: UUID, last: str | None = None) -> AsyncIterator[Ear]:
    """Listen to a job."""
    async with feed.job_stream(job_id, last) as frames, listening_to(frames) as ear:
        yield ear


@asynccontextmanager
async def account_ear(
    feed: EventFeed, account_id: str = "acme", last: str | None = None
) -> AsyncIterator[Ear]:
    """Listen to an account, from the moment when it is told of everything."""
    async with feed.account_stream(account_id, last) as frames, listening_to(frames) as ear:
        await hears_of_accounts(feed)
        yield ear


async def hears_of_accounts(feed: EventFeed, count: int = 1) -> None:
    """Wait until so many listeners are being told."""

    async def is_so() -> bool:
        return feed.listener_count >= count

    await eventually(is_so, f"{count} listen")


async def stored_ids(queries: Database, job_id: UUID) -> list[int]:
    """Return the ids of a job's events as they stand in the table."""
    return [row["id"] for row in await queries.fetch("list_events", job_id)]


@asynccontextmanager
async def feed_over(
    queries: Queries, delivery_queue: DeliveryQueue, intervals: FeedIntervals = BY_READING
) -> AsyncIterator[EventFeed]:
    """Open a feed of its own."""
    async with opening_feed(queries, delivery_queue, intervals) as feed:
        yield feed


async def until_subscribed(redis: ArqRedis) -> None:
    """Wait until somebody hears the news."""

    async def is_so() -> bool:
        ((_, count),) = await redis.pubsub_numsub(CHANGES_CHANNEL)
        return bool(count)

    await eventually(is_so, "somebody subscribed")


async def write_event(database: Database, job: Job, word: str) -> None:
    """Write an event as a transaction of its own, and tell nobody."""
    await database.pool.execute(INSERT, job.id, word)


async def enqueued(producer: Producer, account_id: str = "acme") -> Job:
    """Enqueue a job for the account."""
    return await producer.enqueue(text_to_image(), account_id=account_id)


@asynccontextmanager
async def opening_feed(
    queries: Queries, delivery_queue: DeliveryQueue, intervals: FeedIntervals | None = None
) -> AsyncIterator[EventFeed]:
    """Open a feed with a subscription of its own, and close both at the end."""
    subscription = ChangeSubscription(delivery_queue)
    feed = EventFeed(queries, subscription, intervals)
    try:
        yield feed
    finally:
        await feed.close()
        await subscription.close()
