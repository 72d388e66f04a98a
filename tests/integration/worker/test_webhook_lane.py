"""The webhook lane: a slow endpoint delays no other, and what Redis loses is delivered again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
from arq.connections import ArqRedis

from producer import Job, Order, Producer
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import Lane, local_now_ms
from shared.adapters.servers import Servers
from shared.errors import PostgresDown
from shared.settings import Settings
from tests.fakes.fake_webhook_receiver import (
    FakeWebhookReceiver,
    ReceivedWebhook,
    never_answer,
    receiving,
)
from tests.integration.worker.worker_setup import WorkerSetup, listen, open_worker_setup
from tests.support.deployment import eventually, text_to_image
from worker.queue.lanes import build_webhook_lane
from worker.queue.wake_ups import forward_wake_ups
from worker.recovery.reconciler import Reconciler
from worker.webhooks.http_sender import WebhookSender
from worker.webhooks.outbox import DUE_AT_ONCE_PER_ENDPOINT, SPACING_MS, Outbox
from worker.webhooks.send_concurrency import MAX_PER_ENDPOINT, MAX_UNPROVEN_PER_ACCOUNT


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def setup(
    servers: Servers, database: Database, redis: ArqRedis, settings: Settings
) -> AsyncIterator[WorkerSetup]:
    """WorkerSetup with credits for hundreds of jobs, whose webhooks may reach this machine."""
    async with (
        Producer.connect_to(servers, webhooks_allow_loopback=True) as producer,
        WebhookSender(allow_loopback=True) as sender,
        open_worker_setup(settings, producer, database, redis) as setup,
    ):
        await setup.sql("SELECT grant_credits('acme', 100000, 'for the test')")
        yield setup.with_deps(webhook_sender=sender)


@asynccontextmanager
async def running_webhook_lane(setup: WorkerSetup, database_url: str) -> AsyncIterator[None]:
    """Run the lane with what feeds it, as the service does."""
    lane, reconciler = build_webhook_lane(setup.deps), Reconciler(setup.deps)
    tasks = [
        asyncio.create_task(lane.run_until_cancelled()),
        asyncio.create_task(
            forward_wake_ups(setup.deps.delivery_queue, [lane], setup.deps.metrics.wake_pushes)
        ),
        asyncio.create_task(listen(setup.deps, database_url, reconciler)),
    ]
    await _listens(setup)
    try:
        yield
        assert not any(task.done() for task in tasks), tasks
    finally:
        await lane.drain(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def cancelled_jobs(setup: WorkerSetup, url: str, count: int) -> list[Job]:
    """Return jobs of that webhook URL which have all just ended."""
    order = Order(request=text_to_image(), account_id="acme", webhook_url=url)
    jobs = await setup.producer.enqueue_many([order] * count)
    return [await setup.producer.cancel(job.id) for job in jobs]


async def test_an_end_is_pushed_within_a_fraction_of_a_second(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    async with running_webhook_lane(setup, database_url):
        lags = []
        for number in range(5):
            (job,) = await cancelled_jobs(setup, f"{receiver.url}/{number}", 1)
            ended_at = monotonic()
            await receiver.has(number + 1)
            lags.append(receiver.requests[-1].at - ended_at)
            assert receiver.requests[-1].job_id == job.id
    assert sorted(lags)[2] < 1.0, lags


async def test_an_endpoint_that_never_answers_delays_no_other(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    receiver.answering = _hang_on_the_dead
    async with running_webhook_lane(setup, database_url):
        await cancelled_jobs(setup, f"{receiver.url}/dead", 200)
        await receiver.has(1, "/dead")
        lags = []
        for number in range(10):
            await cancelled_jobs(setup, f"{receiver.url}/alive/{number}", 1)
            ended_at = monotonic()
            await receiver.has(1, f"/alive/{number}")
            lags.append(receiver.to(f"/alive/{number}")[0].at - ended_at)
        assert sorted(lags)[5] < 1.0, lags
        assert max(lags) < 5.0, lags
        assert len(receiver.to("/dead")) <= MAX_PER_ENDPOINT
    waiting = await setup.sql(
        "SELECT count(*) AS n FROM webhook_messages WHERE state = 'pending' AND tries = 0"
    )
    assert waiting == [{"n": 200}]


@pytest.mark.parametrize(
    ("messages", "hosts", "most"),
    [(500, 1, MAX_PER_ENDPOINT), (150, 150, MAX_UNPROVEN_PER_ACCOUNT)],
)
async def test_receivers_of_one_account_that_never_answer_delay_no_other_account(
    setup: WorkerSetup,
    receiver: FakeWebhookReceiver,
    database_url: str,
    messages: int,
    hosts: int,
    most: int,
) -> None:
    async with silent_hosts(hosts) as (urls, connected), running_webhook_lane(setup, database_url):
        orders = [
            Order(request=text_to_image(), account_id="acme", webhook_url=urls[number % hosts])
            for number in range(messages)
        ]
        jobs = await setup.producer.enqueue_many(orders)
        for job in jobs:
            await setup.producer.cancel(job.id)
        await eventually(lambda: _is(connected(), min(2, hosts)), "the first hang")
        await setup.producer.billing.create_account("other")
        await setup.sql("SELECT grant_credits('other', 1000, 'for the test')")
        lags = []
        for number in range(10):
            order = Order(
                request=text_to_image(),
                account_id="other",
                webhook_url=f"{receiver.url}/alive/{number}",
            )
            (job,) = await setup.producer.enqueue_many([order])
            await setup.producer.cancel(job.id)
            ended_at = monotonic()
            await receiver.has(1, f"/alive/{number}")
            lags.append(receiver.to(f"/alive/{number}")[0].at - ended_at)
        assert sorted(lags)[5] < 1.0, lags
        assert max(lags) < 5.0, lags
        assert connected() <= most


@asynccontextmanager
async def silent_hosts(count: int) -> AsyncIterator[tuple[list[str], Callable[[], int]]]:
    """Yield URLs of that many hosts which accept and never answer, and how many are connected."""
    writers: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        # A sender that has given up connects again later: only open connections count.
        with suppress(ConnectionError):
            while await reader.read(65_536):
                continue
        writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(accept, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield [f"http://127.0.0.{n + 1}:{port}/" for n in range(count)], lambda: len(writers)
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def _is(number: int, at_least: int) -> bool:
    return number >= at_least


async def test_many_messages_to_one_quick_endpoint_all_arrive_once(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    async with running_webhook_lane(setup, database_url):
        jobs = await cancelled_jobs(setup, f"{receiver.url}/hook", 300)
        await receiver.has(300)
        await _all_are(setup, "delivered")
    assert sorted(one.job_id for one in receiver.requests) == sorted(job.id for job in jobs)
    assert len({one.headers["webhook-id"] for one in receiver.requests}) == 300


async def test_a_wiped_redis_loses_no_message(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    receiver.answer_in_turn(500)
    async with running_webhook_lane(setup, database_url):
        await cancelled_jobs(setup, receiver.url, 5)
        await receiver.has(5)
        await _have_tried(setup, 1)
        await setup.redis.flushall()
        await setup.sql(
            "UPDATE webhook_messages SET next_try_at = now(),"
            " created_at = created_at - interval '5 seconds'"
        )
        await Reconciler(setup.deps).run_once()
        await receiver.has(10)
        await _all_are(setup, "delivered")


async def test_while_postgres_is_down_messages_wait(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    class AwayAtFirst:
        """A way to Postgres that is closed for the first three questions."""

        def __init__(self) -> None:
            self.refusals = 3

        async def fetch_row(self, query: str, *args: Any) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise PostgresDown("away, for the test")
            return await setup.database.fetch_row(query, *args)

        async def fetch(self, query: str, *args: Any) -> Any:
            return await setup.database.fetch(query, *args)

    store = type(setup.deps.store)(AwayAtFirst())
    away = setup.with_deps(store=store)
    async with running_webhook_lane(away, database_url):
        await cancelled_jobs(setup, receiver.url, 1)
        await receiver.has(1)
        await _all_are(setup, "delivered")
    assert len(receiver.requests) == 1


async def test_nonsense_from_a_notifier_is_ignored(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    async with running_webhook_lane(setup, database_url):
        nobody = "00000000-0000-0000-0000-000000000000"
        for text in ("", "nonsense", nobody, f"{nobody} {nobody}", f"{nobody} {nobody} x"):
            await setup.sql("SELECT pg_notify('darkroom_webhooks', $1)", text)
        await cancelled_jobs(setup, receiver.url, 1)
        await receiver.has(1)


async def test_a_drained_lane_hands_back_what_it_could_not_end(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    receiver.answering = never_answer
    async with running_webhook_lane(setup, database_url):
        (job,) = await cancelled_jobs(setup, receiver.url, 1)
        await receiver.has(1)
    (row,) = await setup.sql("SELECT id, state FROM webhook_messages WHERE job_id = $1", job.id)
    assert row["state"] == "pending"
    due_in = await setup.delivery_due_in_seconds(UUID(int=row["id"].int), Lane.WEBHOOK)
    assert due_in is not None
    assert due_in < 1


async def test_a_replay_hastens_a_message_that_waits_for_hours(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    receiver.answer_in_turn(500)
    async with running_webhook_lane(setup, database_url):
        (job,) = await cancelled_jobs(setup, receiver.url, 1)
        await receiver.has(1)
        await _have_tried(setup, 1)
        (row,) = await setup.sql("SELECT id FROM webhook_messages WHERE job_id = $1", job.id)
        message_id = UUID(int=row["id"].int)
        await setup.redis.zadd(
            Lane.WEBHOOK.value, {Lane.WEBHOOK.arq_id(message_id): 9_999_999_999_999}, xx=True
        )
        await setup.producer.webhooks.replay(message_id)
        await receiver.has(2)
        await _all_are(setup, "delivered")


async def test_a_flood_for_one_endpoint_is_made_due_at_a_pace_and_others_at_once(
    setup: WorkerSetup,
) -> None:
    outbox = Outbox(setup.deps.queries, setup.deps.delivery_queue)
    flooded, other = uuid4(), uuid4()
    flood = [uuid4() for _ in range(1_000)]
    began_ms = local_now_ms()
    await outbox.deliver([(message_id, flooded) for message_id in flood[:600]])
    await outbox.deliver([(message_id, flooded) for message_id in flood[600:]])
    single = uuid4()
    await outbox.deliver([(single, other)])
    ended_ms = local_now_ms()

    async def due_ms(message_id: UUID) -> float:
        return float(
            await setup.redis.zscore(Lane.WEBHOOK.value, Lane.WEBHOOK.arq_id(message_id)) or 0
        )

    assert began_ms <= await due_ms(single) <= ended_ms
    due = [await due_ms(message_id) for message_id in flood]
    assert due[:600] == sorted(due[:600])
    assert due[600:] == sorted(due[600:])
    # Redis counts each call's delays from when the call arrives there.
    assert due[600] >= due[599] - (ended_ms - began_ms)
    assert all(one <= ended_ms for one in due[:DUE_AT_ONCE_PER_ENDPOINT])
    # Redis stores whole milliseconds.
    assert due[-1] >= began_ms + (1_000 - DUE_AT_ONCE_PER_ENDPOINT - 1) * SPACING_MS - 2


async def test_dead_messages_of_a_whole_account_are_sent_again_by_the_workers(
    setup: WorkerSetup, receiver: FakeWebhookReceiver, database_url: str
) -> None:
    async with running_webhook_lane(setup, database_url):
        receiver.answer_in_turn(410)
        await cancelled_jobs(setup, f"{receiver.url}/hook", 20)
        await _all_are(setup, "dead")
        assert await setup.producer.webhooks.replay_dead("acme") == 20
        await _all_are(setup, "delivered")
    assert len({one.headers["webhook-id"] for one in receiver.requests}) == 20


async def _hang_on_the_dead(received: ReceivedWebhook) -> int:
    return await never_answer(received) if received.path == "/dead" else 204


async def _listens(setup: WorkerSetup) -> None:
    async def is_there() -> bool:
        rows = await setup.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND query ILIKE 'LISTEN%darkroom_dispatch%'"
        )
        return bool(rows)

    await eventually(is_there, "somebody listens", 10)


async def _all_are(setup: WorkerSetup, state: str) -> None:
    async def are() -> bool:
        rows = await setup.sql("SELECT state FROM webhook_messages")
        return {row["state"] for row in rows} == {state}

    await eventually(are, f"all messages are {state}", 20)


async def _have_tried(setup: WorkerSetup, tries: int) -> None:
    async def have() -> bool:
        rows = await setup.sql("SELECT tries FROM webhook_messages")
        return all(row["tries"] >= tries for row in rows)

    await eventually(have, f"all messages have {tries} tries on record", 20)
