"""Event streams over real servers send every event once, in order, also after a resume."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog
from arq.connections import ArqRedis

from producer import (
    InvalidRequest,
    JobNotFound,
    Order,
    PostgresDown,
    Producer,
)
from producer.jobs.job_repository import JobRepository
from producer.live.event_feed import EventFeed
from producer.live.event_queries import NAMED_JOBS_MAX
from producer.live.event_reader import FeedIntervals
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.adapters.servers import Servers
from shared.redis_keys import CHANGES_CHANNEL
from tests.integration.producer.client_setup import open_account, producer_without_redis
from tests.integration.producer.event_stream_reader import (
    enqueued,
    open_feed,
    read_account_stream,
    read_job_stream,
    stored_ids,
    until_subscribed,
    wait_for_listeners,
    write_event,
)
from tests.support.deployment import Deployment, eventually, text_to_image

STRANGE = UUID("01a20600-4947-7353-888c-725e9420fbae")  # no job has this id
WHOLE_LIFE = ["enqueued", "claimed", "submitted", "completed"]


# --- a job's stream -------------------------------------------------------------------------


@pytest.mark.promise("the stream ends with the job")
async def test_every_event_of_a_real_run_is_pushed_in_order_and_the_stream_ends(
    deployment: Deployment, push_feed: EventFeed, redis: ArqRedis
) -> None:
    job = await deployment.enqueue()
    async with read_job_stream(push_feed, job.id) as reader:
        await until_subscribed(redis)
        async with deployment.worker():
            await reader.wait_until_closed()
    assert [word for word in reader.event_names if word != "progressed"] == WHOLE_LIFE
    assert reader.ids == await stored_ids(deployment.database, job.id)
    assert [one.id for one in reader.received] == [str(one) for one in reader.ids]
    assert reader.received[-1].data["state"] == "succeeded"
    assert reader.received[-1].data["detail"]["credits_charged"] == 6
    assert {one.data["account_id"] for one in reader.received} == {"acme"}
    assert push_feed.listener_count == 0


async def test_resuming_after_each_position_gives_exactly_the_remaining_events(
    deployment: Deployment, polling_feed: EventFeed
) -> None:
    job = await deployment.enqueue()
    async with deployment.worker():
        await deployment.ended(job)
    ids = await stored_ids(deployment.database, job.id)
    for seen, position in enumerate([None, *ids[:-1]]):
        last = None if position is None else str(position)
        async with read_job_stream(polling_feed, job.id, last) as reader:
            await reader.wait_until_closed()
        assert reader.ids == ids[seen:]


async def test_after_the_end_there_is_nothing_to_resume(
    producer: Producer, database: Database, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    await producer.cancel(job.id)
    newest = (await stored_ids(database, job.id))[-1]
    async with polling_feed.job_stream(job.id, str(newest)) as frames:
        assert frames is None


async def test_events_after_the_end_are_not_sent_to_the_jobs_listeners(
    producer: Producer, database: Database, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    await producer.cancel(job.id)
    await write_event(database, job, "delivered_late")
    async with read_job_stream(polling_feed, job.id) as reader:
        await reader.wait_until_closed()
    assert reader.event_names == ["enqueued", "cancelled"]
    async with polling_feed.job_stream(job.id, str(reader.ids[-1])) as frames:
        assert frames is None


async def test_a_long_timeline_is_sent_page_by_page(
    producer: Producer, database: Database, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    await database.pool.execute(
        "INSERT INTO job_events (job_id, event)"
        " SELECT $1, 'progressed' FROM generate_series(1, 1234)",
        job.id,
    )
    await producer.cancel(job.id)
    async with read_job_stream(polling_feed, job.id) as reader:
        await reader.wait_until_closed()
    assert reader.ids == await stored_ids(database, job.id)
    assert len(reader.ids) == 1236


async def test_an_event_that_is_read_and_pushed_at_the_same_time_is_sent_once(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    class Overlapping(Database):
        """A database in which something happens between the joining and the reading."""

        queries = 0

        async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
            rows = await super().fetch(query, *args)
            self.queries += query == "new_events"
            return rows if query != "job_events_after" else await self._later(query, *args)

        async def _later(self, query: str, *args: Any) -> list[asyncpg.Record]:
            queries = self.queries
            await write_event(self, job, "between")

            async def is_told() -> bool:
                return self.queries >= queries + 2

            await eventually(is_told, "two queries")
            return await super().fetch(query, *args)

    await open_account(producer)
    job = await enqueued(producer)
    overlapping = Overlapping(database.pool)
    async with (
        open_feed(overlapping, DeliveryQueue(redis)) as feed,
        read_job_stream(feed, job.id) as reader,
    ):
        await producer.cancel(job.id)
        await reader.wait_until_closed()
    assert reader.event_names == ["enqueued", "between", "cancelled"]


async def test_a_job_that_does_not_exist_is_not_found(polling_feed: EventFeed) -> None:
    with pytest.raises(JobNotFound):
        async with polling_feed.job_stream(STRANGE):
            pass
    assert polling_feed.listener_count == 0


@pytest.mark.parametrize("given", ["x", "7.7", "99999999", "-1"])
async def test_a_position_that_is_not_the_jobs_is_refused_naming_the_header(
    producer: Producer, polling_feed: EventFeed, given: str
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    with pytest.raises(InvalidRequest) as refused:
        async with polling_feed.job_stream(job.id, given):
            pass
    assert [fault.field for fault in refused.value.faults] == ["Last-Event-ID"]
    assert polling_feed.listener_count == 0


# --- weather --------------------------------------------------------------------------------


async def test_without_redis_events_are_found_by_a_query(
    servers: Servers, database: Database, tmp_path: Path
) -> None:
    async with producer_without_redis(servers, tmp_path) as producer:
        await open_account(producer)
        job = await enqueued(producer)
        try:
            async with read_job_stream(producer.events, job.id) as reader:
                await JobRepository(database).cancel(job.id)
                await reader.wait_until_closed()
        finally:
            await producer.events.close()
    assert reader.event_names == ["enqueued", "cancelled"]


async def test_an_outage_of_postgres_delays_events_and_loses_none(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    class Away(Database):
        """A database that does not answer queries for a while."""

        failures = 0

        async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
            if query == "new_events" and self.failures > 0:
                self.failures -= 1
                raise PostgresDown("Postgres does not answer: a drill")
            return await super().fetch(query, *args)

    await open_account(producer)
    job = await enqueued(producer)
    away = Away(database.pool)
    with structlog.testing.capture_logs() as logs:
        async with (
            open_feed(away, DeliveryQueue(redis)) as feed,
            read_job_stream(feed, job.id) as reader,
        ):
            away.failures = 5
            await producer.cancel(job.id)
            await reader.wait_until_closed()
    assert reader.event_names == ["enqueued", "cancelled"]
    # Five tries in a row are one change.
    assert [(log["event"], log["doing"]) for log in logs] == [("dependency_down", "read_events")]


@pytest.mark.promise("or falls behind by 256 events, is disconnected")
async def test_a_slow_listener_is_dropped_and_delays_no_other(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    intervals = FeedIntervals(read_seconds=0.02, buffer_length=8)
    async with open_feed(database, DeliveryQueue(redis), intervals) as feed:
        async with (
            feed.account_stream("acme") as slow,
            read_account_stream(feed) as quick,
        ):
            await anext(slow)
            reading = asyncio.ensure_future(anext(slow))
            await wait_for_listeners(feed, 2)
            await write_event(database, job, "first")
            await reading  # and reads no more
            for number in range(30):
                await write_event(database, job, f"more_{number}")
                await quick.wait_for_events(number + 2)
            with pytest.raises(StopAsyncIteration):
                await anext(slow)
            assert feed.dropped_count == 1
            await write_event(database, job, "last")
            await quick.wait_for_events(32)
        assert feed.listener_count == 0


@pytest.mark.promise("every 15 seconds of silence", "heartbeat of a stream")
async def test_heartbeats_come_while_nothing_happens_and_move_an_accounts_position(
    producer: Producer, servers: Servers, redis: ArqRedis, database: Database
) -> None:
    await open_account(producer)
    await open_account(producer, "other")
    job, other = await enqueued(producer), await enqueued(producer, "other")
    intervals = FeedIntervals(read_seconds=0.02, heartbeat_seconds=0.05)
    async with (
        open_feed(database, DeliveryQueue(redis), intervals) as feed,
        read_job_stream(feed, job.id) as job_listener,
        read_account_stream(feed) as account_listener,
    ):
        began_at = account_listener.last_id

        async def both_hear() -> bool:
            return min(job_listener.comments, account_listener.comments) >= 3

        await write_event(database, other, "elsewhere")
        await eventually(both_hear, "heartbeats")

        async def has_moved() -> bool:
            return account_listener.last_id != began_at

        await eventually(has_moved, "the position moves on")
    assert job_listener.event_names == ["enqueued"]
    assert account_listener.event_names == []
    assert job_listener.last_id == str(job_listener.ids[0])


async def test_a_hundred_listeners_and_waiters_share_one_subscription(
    producer: Producer, redis: ArqRedis
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    waits = [asyncio.create_task(producer.wait(job.id, timeout_seconds=20)) for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        has_ended = asyncio.Event()

        async def listen() -> list[str]:
            async with read_job_stream(producer.events, job.id) as reader:
                await has_ended.wait()
                await reader.wait_until_closed()
                return reader.event_names

        listening = [group.create_task(listen()) for _ in range(100)]
        await wait_for_listeners(producer.events, 100)
        await until_subscribed(redis)
        ((_, count),) = await redis.pubsub_numsub(CHANGES_CHANNEL)
        assert count == 1
        await producer.cancel(job.id)
        has_ended.set()
    assert {tuple(task.result()) for task in listening} == {("enqueued", "cancelled")}
    assert {job.state for job in await asyncio.gather(*waits)} == {"cancelled"}


async def test_of_very_many_jobs_each_listener_gets_only_its_own(
    producer: Producer, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    orders = [Order(request=text_to_image(), account_id="acme") for _ in range(NAMED_JOBS_MAX + 2)]
    *jobs, unheard = await producer.enqueue_many(orders)
    async with AsyncExitStack() as stack:
        ears = [
            await stack.enter_async_context(read_job_stream(polling_feed, job.id)) for job in jobs
        ]
        for job in (unheard, *jobs[:3]):
            await producer.cancel(job.id)
        for reader in ears[:3]:
            await reader.wait_until_closed()
        assert [reader.event_names for reader in ears[:3]] == [["enqueued", "cancelled"]] * 3
        assert {tuple(reader.event_names) for reader in ears[3:]} == {("enqueued",)}


async def test_nonsense_on_the_channel_does_no_harm(
    producer: Producer, push_feed: EventFeed, redis: ArqRedis
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    async with read_job_stream(push_feed, job.id) as reader:
        await until_subscribed(redis)
        for message in ("", "nonsense", f"{uuid4()}", f"{job.id} x", f"!{job.id}", b"\xff\xfe"):
            await redis.publish(CHANGES_CHANNEL, message)
        await producer.cancel(job.id)
        await reader.wait_until_closed()
    assert reader.event_names == ["enqueued", "cancelled"]


async def test_a_closed_feed_ends_its_streams_and_those_that_are_opened_later(
    producer: Producer, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    async with (
        read_job_stream(polling_feed, job.id) as first,
        read_account_stream(polling_feed) as second,
    ):
        await first.wait_for_events(1)
        await polling_feed.close()
        await first.wait_until_closed()
        await second.wait_until_closed()
    async with (
        read_job_stream(polling_feed, job.id) as late,
        polling_feed.account_stream("acme") as frames,
    ):
        await late.wait_until_closed()
        assert [frame async for frame in frames][1:] == []
    assert late.event_names == ["enqueued"]
    assert polling_feed.listener_count == 0
