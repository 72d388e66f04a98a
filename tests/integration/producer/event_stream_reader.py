"""Reads event streams in tests, and writes events for them."""

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

WAIT_SECONDS = 20.0
BY_PUSH_ALONE = FeedIntervals(read_seconds=3_600)
"""No regular read happens during a test, so every received event was announced."""
BY_READING = FeedIntervals(read_seconds=0.05)
INSERT = "INSERT INTO job_events (job_id, event) VALUES ($1, $2)"


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event, as the parser of a client returns it."""

    id: str
    event: str
    data: dict[str, Any]


@dataclass(slots=True)
class StreamReader:
    """Parses Server-Sent Events from pieces of any size."""

    last_id: str = ""
    received: list[ReceivedEvent] = field(default_factory=list)
    comments: int = 0
    retry: str = ""
    is_over: bool = False
    _rest: bytes = b""

    def feed(self, piece: bytes) -> None:
        """Parse the next piece."""
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
            received = ReceivedEvent(self.last_id, fields["event"], orjson.loads(fields["data"]))
            self.received.append(received)

    @property
    def event_names(self) -> list[str]:
        """The names of the events in the order received."""
        return [one.event for one in self.received]

    @property
    def ids(self) -> list[int]:
        """The ids of the events in the order received."""
        return [one.data["id"] for one in self.received]

    async def wait_for_events(self, count: int) -> None:
        """Wait until `count` events were received."""

        async def enough() -> bool:
            return len(self.received) >= count

        await eventually(enough, f"{count} events are received", WAIT_SECONDS)

    async def wait_until_closed(self) -> None:
        """Wait until the stream has ended."""

        async def over() -> bool:
            return self.is_over

        await eventually(over, "the stream ends", WAIT_SECONDS)

    async def listen(self, frames: AsyncIterator[bytes]) -> None:
        """Read frames until the stream ends."""
        async for frame in frames:
            self.feed(frame)
        self.is_over = True


@asynccontextmanager
async def reading(frames: AsyncIterator[bytes] | None) -> AsyncIterator[StreamReader]:
    """Read a stream in the background while the block runs."""
    assert frames is not None
    reader = StreamReader()
    task = asyncio.create_task(reader.listen(frames))
    try:
        yield reader
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def read_job_stream(
    feed: EventFeed, job_id: UUID, last: str | None = None
) -> AsyncIterator[StreamReader]:
    """Read the stream of a job."""
    async with feed.job_stream(job_id, last) as frames, reading(frames) as reader:
        yield reader


@asynccontextmanager
async def read_account_stream(
    feed: EventFeed, account_id: str = "acme", last: str | None = None
) -> AsyncIterator[StreamReader]:
    """Read the stream of an account. The block begins when the listener has joined."""
    async with feed.account_stream(account_id, last) as frames, reading(frames) as reader:
        await wait_for_listeners(feed)
        yield reader


async def wait_for_listeners(feed: EventFeed, count: int = 1) -> None:
    """Wait until `count` listeners have joined."""

    async def is_so() -> bool:
        return feed.listener_count >= count

    await eventually(is_so, f"{count} listen")


async def stored_ids(queries: Database, job_id: UUID) -> list[int]:
    """Return the ids of a job's events in the table."""
    return [row["id"] for row in await queries.fetch("list_events", job_id)]


async def until_subscribed(redis: ArqRedis) -> None:
    """Wait until a process has subscribed to announcements."""

    async def is_so() -> bool:
        ((_, count),) = await redis.pubsub_numsub(CHANGES_CHANNEL)
        return bool(count)

    await eventually(is_so, "somebody subscribed")


async def write_event(database: Database, job: Job, word: str) -> None:
    """Write an event in its own transaction, without an announcement."""
    await database.pool.execute(INSERT, job.id, word)


async def enqueued(producer: Producer, account_id: str = "acme") -> Job:
    """Enqueue a job for the account."""
    return await producer.enqueue(text_to_image(), account_id=account_id)


@asynccontextmanager
async def open_feed(
    queries: Queries, delivery_queue: DeliveryQueue, intervals: FeedIntervals = BY_READING
) -> AsyncIterator[EventFeed]:
    """Open a feed with its own subscription, and close both at the end."""
    subscription = ChangeSubscription(delivery_queue)
    feed = EventFeed(queries, subscription, intervals)
    try:
        yield feed
    finally:
        await feed.close()
        await subscription.close()
