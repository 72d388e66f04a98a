"""Event streams of an account: late commits are sent, and a resume misses nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import asyncpg
import pytest
from arq.connections import ArqRedis

from producer import AccountNotFound, InvalidRequest, Job, Producer
from producer.live.event_feed import EventFeed
from producer.live.event_frames import frame_of
from producer.live.event_queries import RANGE_BYTES, RANGE_LENGTH, read_ranges, read_snapshot_now
from producer.live.positions import Position
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from tests.integration.producer.client_setup import open_account
from tests.integration.producer.event_stream_reader import (
    INSERT,
    StreamReader,
    enqueued,
    read_account_stream,
    reading,
    stored_ids,
    until_subscribed,
    write_event,
)


@asynccontextmanager
async def open_transaction(
    servers: Servers, job: Job, word: str
) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Write an event in a transaction that stays open until the caller commits."""
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute("BEGIN")
        await connection.execute(INSERT, job.id, word)
        yield connection
    finally:
        await connection.close()


async def test_an_account_stream_has_all_later_events_of_its_jobs_and_no_other(
    producer: Producer, push_feed: EventFeed, redis: ArqRedis
) -> None:
    await open_account(producer)
    await open_account(producer, "other")
    await enqueued(producer)
    async with read_account_stream(push_feed) as reader:
        await until_subscribed(redis)
        first, strange = await enqueued(producer), await enqueued(producer, "other")
        second = await enqueued(producer)
        for job in (first, strange, second):
            await producer.cancel(job.id)
        await reader.wait_for_events(4)
    told = [(one.event, one.data["job_id"], one.data["state"]) for one in reader.received]
    assert told == [
        ("enqueued", str(first.id), "queued"),
        ("enqueued", str(second.id), "queued"),
        ("cancelled", str(first.id), "cancelled"),
        ("cancelled", str(second.id), "cancelled"),
    ]


async def test_an_event_that_commits_late_is_sent_late_but_is_sent(
    producer: Producer, servers: Servers, database: Database, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    slow, quick = await enqueued(producer), await enqueued(producer)
    async with (
        read_account_stream(polling_feed) as reader,
        open_transaction(servers, slow, "slow") as late,
    ):
        await write_event(database, quick, "quick")
        await reader.wait_for_events(1)
        seen_before = reader.last_id
        await late.execute("COMMIT")
        await reader.wait_for_events(2)
    assert reader.event_names == ["quick", "slow"]
    assert reader.ids[0] > reader.ids[1]
    # A client that lost the connection in between resumes before the slow one.
    async with read_account_stream(polling_feed, last=seen_before) as resumed:
        await resumed.wait_for_events(2)
    assert set(resumed.event_names) == {"quick", "slow"}
    async with read_account_stream(polling_feed, last=reader.last_id) as up_to_date:
        await write_event(database, quick, "newer")
        await up_to_date.wait_for_events(1)
    assert up_to_date.event_names == ["newer"]


async def test_a_transaction_that_was_open_before_the_listener_came_is_reported(
    producer: Producer, servers: Servers, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    job = await enqueued(producer)
    async with (
        open_transaction(servers, job, "slow") as late,
        read_account_stream(polling_feed) as reader,
    ):
        await late.execute("COMMIT")
        await reader.wait_for_events(1)
    assert reader.event_names == ["slow"]


async def test_nothing_is_missed_whatever_commits_when_and_however_often_one_resumes(
    producer: Producer, servers: Servers, polling_feed: EventFeed, database: Database
) -> None:
    """Ten writers with short and long transactions; a listener that leaves again and again."""
    await open_account(producer)
    jobs = [await enqueued(producer) for _ in range(10)]
    random, has_written = Random(5), asyncio.Event()

    async def write(job: Job, number: int) -> None:
        own = Random(number)
        connection = await asyncpg.connect(servers.database_url)
        try:
            for step in range(30):
                async with connection.transaction():
                    # As the guarded statements do: the job's row is locked first.
                    await connection.execute("UPDATE jobs SET progress = 0 WHERE id = $1", job.id)
                    await connection.execute(INSERT, job.id, f"step_{step}")
                    await asyncio.sleep(own.choice([0, 0, 0.002, 0.05]))
        finally:
            await connection.close()

    async def all_writers() -> None:
        await asyncio.gather(*(write(job, number) for number, job in enumerate(jobs)))
        has_written.set()

    told: dict[int, tuple[str, str]] = {}
    heard_per_job: defaultdict[str, list[int]] = defaultdict(list)
    last: str | None = None
    writing = asyncio.create_task(all_writers())
    async with polling_feed.account_stream("acme", "0.0") as frames, reading(frames) as whole:
        while len(told) < 10 * 31:
            async with polling_feed.account_stream("acme", last or "0.0") as frames:
                reader = StreamReader(last_id=last or "")
                wanted = 10 * 31 if has_written.is_set() else random.randint(1, 20)
                async for frame in frames:
                    reader.feed(frame)
                    if len(reader.received) >= wanted or len({*told, *reader.ids}) == 10 * 31:
                        break
            told |= {one.data["id"]: (one.data["job_id"], one.event) for one in reader.received}
            last = reader.last_id
        await writing
        await whole.wait_for_events(10 * 31)
    stored = await database.pool.fetch("SELECT id, event FROM job_events")
    assert {row["id"]: row["event"] for row in stored} == {n: word for n, (_, word) in told.items()}
    assert sorted(whole.ids) == sorted(told)
    for one in whole.received:
        heard_per_job[one.data["job_id"]].append(one.data["id"])
    assert all(ids == sorted(ids) for ids in heard_per_job.values())


async def test_a_long_history_is_read_in_pages_and_sent_in_full(
    producer: Producer, database: Database, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    await open_account(producer, "other")
    mine, other = await enqueued(producer), await enqueued(producer, "other")
    for _ in range(3):
        await database.pool.execute(
            "INSERT INTO job_events (job_id, event)"
            " SELECT CASE WHEN n % 5 = 0 THEN $1::uuid ELSE $2::uuid END, 'progressed'"
            "   FROM generate_series(1, $3) AS n",
            mine.id,
            other.id,
            RANGE_LENGTH - 1,
        )
    ids = await stored_ids(database, mine.id)
    async with read_account_stream(polling_feed, last="0.0") as reader:
        await reader.wait_for_events(len(ids))
        await write_event(database, mine, "now")
        await reader.wait_for_events(len(ids) + 1)
    assert reader.ids == await stored_ids(database, mine.id)
    middle = reader.received[len(ids) // 2]
    async with read_account_stream(polling_feed, last=middle.id) as resumed:
        await resumed.wait_for_events(len(ids) + 1 - (len(ids) // 2 + 1))
    assert resumed.ids == reader.ids[len(ids) // 2 + 1 :]


async def test_a_history_of_long_events_is_read_in_short_pages(
    producer: Producer, database: Database, polling_feed: EventFeed
) -> None:
    """A listener that reads nothing holds one stretch of it at most."""
    await open_account(producer)
    job = await enqueued(producer)
    await database.pool.execute(
        "INSERT INTO job_events (job_id, event, detail) SELECT $1, 'large',"
        " jsonb_build_object('message', repeat('x', $2::int)) FROM generate_series(1, 40)",
        job.id,
        RANGE_BYTES // 10,
    )
    now = await read_snapshot_now(database)
    event_ranges = [one async for one in read_ranges(database, "acme", Position(0, 0), now, None)]
    assert [
        one.id for event_range in event_ranges for one in event_range.events
    ] == await stored_ids(database, job.id)
    assert len(event_ranges) == 5
    for event_range in event_ranges:
        assert sum(len(frame_of(one, 0)) for one in event_range.events) < RANGE_BYTES * 1.1
    async with read_account_stream(polling_feed, last="0.0") as reader:
        await reader.wait_for_events(41)
    assert reader.ids == await stored_ids(database, job.id)


async def test_an_account_that_does_not_exist_is_not_found(polling_feed: EventFeed) -> None:
    with pytest.raises(AccountNotFound):
        async with polling_feed.account_stream("nobody"):
            pass


@pytest.mark.parametrize("given", ["x", "7", "99999999999.0"])
async def test_a_position_of_another_database_is_refused_naming_the_header(
    producer: Producer, polling_feed: EventFeed, given: str
) -> None:
    await open_account(producer)
    with pytest.raises(InvalidRequest) as refused:
        async with polling_feed.account_stream("acme", given):
            pass
    assert [fault.field for fault in refused.value.faults] == ["Last-Event-ID"]


async def test_events_restored_from_another_cluster_are_not_told_as_new(
    producer: Producer, database: Database, polling_feed: EventFeed
) -> None:
    await open_account(producer)
    old = await enqueued(producer)
    # As in a restored dump: transaction ids that this cluster has not reached yet.
    await database.pool.execute(
        "UPDATE job_events SET at = now() - interval '2 days',"
        " tx = (pg_current_xact_id()::text::bigint + 20)::text::xid8"
    )
    async with read_account_stream(polling_feed) as reader:
        for _ in range(40):
            await write_event(database, old, "new")
        await reader.wait_for_events(40)
    assert set(reader.event_names) == {"new"}
