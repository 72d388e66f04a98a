"""Server-Sent Events over a real socket, with good and with bad clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import structlog
from aiohttp import web
from arq.connections import ArqRedis

from producer import PostgresDown, Producer
from producer.live.event_feed import EventFeed
from producer.live.event_reader import FeedIntervals
from producer.live.sse_response import stream_response
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue
from tests.integration.producer.client_setup import open_account
from tests.integration.producer.event_stream_reader import (
    StreamReader,
    open_feed,
    stored_ids,
    wait_for_listeners,
)
from tests.support.deployment import Deployment, eventually, text_to_image

INTERVALS = FeedIntervals(read_seconds=0.05, heartbeat_seconds=0.1)
WRITE_TIMEOUT_SECONDS = 0.5


@asynccontextmanager
async def streaming(feed: EventFeed, path: Path | None = None) -> AsyncIterator[int]:
    """Serve the streams of a feed, also on a Unix socket where one is named; yields the port."""

    async def job_events(request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        async with feed.job_stream(UUID(request.match_info["id"]), last) as frames:
            return await stream_response(
                request, frames, nullcontext(), write_timeout_seconds=WRITE_TIMEOUT_SECONDS
            )

    async def account_events(request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        async with feed.account_stream(request.match_info["id"], last) as frames:
            return await stream_response(
                request, frames, nullcontext(), write_timeout_seconds=WRITE_TIMEOUT_SECONDS
            )

    routes = [web.get("/jobs/{id}", job_events), web.get("/accounts/{id}", account_events)]
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        if path is not None:
            await web.UnixSite(runner, path).start()
        yield port
    finally:
        await feed.close()
        await runner.cleanup()


async def nobody_listens(feed: EventFeed) -> None:
    """Wait until every listener is gone."""

    async def is_so() -> bool:
        return feed.listener_count == 0

    await eventually(is_so, "no listener is left")


async def write_large_event(database: Database, job_id: UUID, characters: int = 50_000) -> None:
    """Write an event of so many characters."""
    await database.pool.execute(
        "INSERT INTO job_events (job_id, event, detail)"
        " VALUES ($1, 'large', jsonb_build_object('message', repeat('x', $2)))",
        job_id,
        characters,
    )


async def test_a_client_is_sent_every_event_and_then_told_to_stop_asking(
    deployment: Deployment, redis: ArqRedis
) -> None:
    job = await deployment.enqueue()
    async with (
        open_feed(deployment.database, DeliveryQueue(redis), INTERVALS) as feed,
        streaming(feed) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        deployment.worker(),
    ):
        reader = StreamReader()
        async with session.get(f"/jobs/{job.id}") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert answer.headers["Cache-Control"] == "no-cache, no-transform"
            assert answer.headers["X-Accel-Buffering"] == "no"
            async for piece in answer.content.iter_any():
                reader.feed(piece)
        assert reader.retry == "2000"
        assert reader.event_names[0] == "enqueued"
        assert reader.event_names[-1] == "completed"
        assert reader.ids == await stored_ids(deployment.database, job.id)
        async with session.get(
            f"/jobs/{job.id}", headers={"Last-Event-ID": reader.last_id}
        ) as again:
            assert (again.status, await again.read()) == (204, b"")


async def test_a_client_that_left_is_forgotten_at_the_next_heartbeat(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    await open_account(producer)
    job = await producer.enqueue(text_to_image(), account_id="acme")
    async with (
        open_feed(database, DeliveryQueue(redis), INTERVALS) as feed,
        streaming(feed) as port,
    ):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            answers = [await session.get(path) for path in (f"/jobs/{job.id}", "/accounts/acme")]
            for answer in answers:
                await answer.content.readany()
            await wait_for_listeners(feed, 2)
            for answer in answers:
                answer.close()
        await nobody_listens(feed)
        assert feed.dropped_count == 0


@pytest.mark.promise(
    "A client that reads nothing for 30 seconds", "a stream that its reader does not read"
)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
async def test_a_client_that_reads_nothing_is_disconnected_and_delays_no_other(
    producer: Producer,
    database: Database,
    redis: ArqRedis,
    tmp_path: Path,
    family: socket.AddressFamily,
) -> None:
    await open_account(producer)
    job = await producer.enqueue(text_to_image(), account_id="acme")
    path = tmp_path / "door.sock"
    async with (
        open_feed(database, DeliveryQueue(redis), INTERVALS) as feed,
        streaming(feed, path) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.get("/accounts/acme") as answer,
        unread_connection(family, str(path) if family is socket.AF_UNIX else ("127.0.0.1", port)),
    ):
        await wait_for_listeners(feed, 2)
        reader = StreamReader()
        for number in range(40):
            await write_large_event(database, job.id)
            while len(reader.received) <= number:
                reader.feed(await answer.content.readany())

        async def one_is_left() -> bool:
            return feed.listener_count == 1

        await eventually(one_is_left, "the client that reads nothing is cut off")
        await write_large_event(database, job.id)
        while len(reader.received) <= 40:
            reader.feed(await answer.content.readany())


@asynccontextmanager
async def unread_connection(
    family: socket.AddressFamily, address: Any
) -> AsyncIterator[socket.socket]:
    """Ask for the stream of the account and never read it."""
    loop = asyncio.get_running_loop()
    with socket.socket(family) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, b"GET /accounts/acme HTTP/1.1\r\nHost: x\r\n\r\n")
        yield connection


async def test_a_stream_that_postgres_interrupts_ends_and_is_resumed(
    producer: Producer, database: Database, redis: ArqRedis
) -> None:
    class Failing(Database):
        """A database that fails after the first page of a timeline."""

        pages = 0

        async def fetch(self, query: str, *args: Any) -> list[Any]:
            self.pages += query == "job_events_after"
            if self.pages == 2 and query == "job_events_after":
                raise PostgresDown("Postgres does not answer: a drill")
            return await super().fetch(query, *args)

    await open_account(producer)
    job = await producer.enqueue(text_to_image(), account_id="acme")
    await database.pool.execute(
        "INSERT INTO job_events (job_id, event)"
        " SELECT $1, 'progressed' FROM generate_series(1, 700)",
        job.id,
    )
    await producer.cancel(job.id)
    reader = StreamReader()
    with structlog.testing.capture_logs() as logs:
        async with (
            open_feed(Failing(database.pool), DeliveryQueue(redis), INTERVALS) as feed,
            streaming(feed) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            for count in (500, 702):
                headers = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
                async with session.get(f"/jobs/{job.id}", headers=headers) as answer:
                    reader.feed(await answer.read())
                assert len(reader.received) == count
    assert reader.ids == await stored_ids(database, job.id)
    assert [log["event"] for log in logs] == ["dependency_down"]
