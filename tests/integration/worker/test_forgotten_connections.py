"""A connection that a NAT has forgotten is silent and does not end: it is noticed and replaced."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import asyncpg
from arq.connections import ArqRedis
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from producer import Producer
from producer.live.change_subscription import ChangeSubscription
from shared.adapters.monitoring.push_channels import PushChannel, export_push_channels
from shared.adapters.postgres.database import Queries, connect_database
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import DeliveryQueue, Lane, connect_redis
from shared.adapters.redis.subscription import SUBSCRIPTION_CHECK, SubscriptionCheck
from shared.adapters.servers import Servers
from shared.adapters.tcp_keepalive import tcp_options
from shared.errors import DependencyDown
from shared.redis_keys import WAKE_UP_CHANNEL
from tests.integration.worker.bare_lanes import (
    RecordingLane,
    Runs,
    deliver,
    lane_over,
    redis_behind_a_relay,
    running,
    seen,
    wake_pushes,
)
from tests.integration.worker.worker_setup import WorkerSetup, listen
from tests.support.deployment import eventually, text_to_image
from tests.support.tcp_relay import TcpRelay, relay_to
from worker.queue.postgres_notifications import deliver_on_notify
from worker.queue.wake_ups import forward_wake_ups
from worker.recovery.reconciler import Reconciler

_QUICK = SubscriptionCheck(interval_seconds=0.4, deadline_seconds=0.4)
_LONGEST_SECONDS = 30.0


class CountedQueries:
    """Runs named queries, and counts them."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self.asked: Counter[str] = Counter()

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run the query of that name and return its rows."""
        self.asked[query] += 1
        return await self._queries.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query of that name and return its first row, if any."""
        self.asked[query] += 1
        return await self._queries.fetch_row(query, *args)


@asynccontextmanager
async def _postgres_behind_a_relay(url: str) -> AsyncIterator[tuple[TcpRelay, str]]:
    parts = urlsplit(url)
    directory = unquote(parts.netloc.partition("@")[2].partition(":")[0])
    async with relay_to(f"{directory}/.s.PGSQL.5432") as relay:
        yield relay, f"postgresql://darkroom@127.0.0.1:{relay.port}{parts.path}"


@asynccontextmanager
async def _running(task: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _is_open(path: PushChannel) -> bool:
    return path.is_open is True


async def _is_closed(path: PushChannel) -> bool:
    return path.is_open is False


def test_a_dead_connection_is_replaced_within_half_a_minute_by_default() -> None:
    slowest_reconnect_seconds = 2.0 + 5.0
    worst = (
        SUBSCRIPTION_CHECK.interval_seconds
        + SUBSCRIPTION_CHECK.deadline_seconds
        + slowest_reconnect_seconds
    )
    assert worst <= _LONGEST_SECONDS
    # The heartbeat of an idle worker is one statement and one command in that time.
    assert SUBSCRIPTION_CHECK.interval_seconds >= 10


async def test_a_dead_listen_connection_is_replaced_and_notifications_arrive_again(
    setup: WorkerSetup, database_url: str
) -> None:
    path = setup.deps.metrics.dispatch_pushes
    async with _postgres_behind_a_relay(database_url) as (relay, far_url):
        with capture_logs() as lines:
            task = asyncio.create_task(listen(setup.deps, far_url, heartbeat=_QUICK))
            async with _running(task):
                await eventually(lambda: _is_open(path), "it listens")
                relay.freeze(hides_ends=True)
                forgotten_at = monotonic()
                await eventually(lambda: _is_closed(path), "the dead connection is noticed")
                assert _gauge(setup.registry, "dispatch") == 0
                await eventually(lambda: _is_open(path), "it listens again")
                assert monotonic() - forgotten_at < 10
                took = await _seconds_until_dispatched(setup, database_url)
    assert took < 1.5, "found by the notification, before the reconciler would look"
    assert _gauge(setup.registry, "dispatch") == 1
    assert [line["event"] for line in lines if line.get("path") == "dispatch"] == [
        "push_connection_lost",
        "push_connection_restored",
    ]
    (lost, _) = (line for line in lines if line.get("path") == "dispatch")
    assert "dead" in lost["error"]
    assert lost["meanwhile"] == "the reconciler runs every 5 s"


async def test_a_listener_of_another_server_than_the_pool_is_told_from_a_live_one(
    setup: WorkerSetup, database_url: str
) -> None:
    # After a failover the connection may still be to a primary without writers.
    other = f"{database_url.rpartition('/')[0]}/postgres"
    path = setup.deps.metrics.dispatch_pushes
    task = asyncio.create_task(listen(setup.deps, other, heartbeat=_QUICK))
    async with _running(task):
        await eventually(lambda: _is_closed(path), "the listener hears nothing of the pool")


async def test_a_quiet_listen_connection_that_lives_is_kept(
    setup: WorkerSetup, database_url: str
) -> None:
    path = setup.deps.metrics.dispatch_pushes
    with capture_logs() as lines:
        queries = CountedQueries(setup.deps.queries)
        task = asyncio.create_task(
            deliver_on_notify(
                database_url,
                Reconciler(setup.deps),
                partial(queries.fetch, "notify_echo"),
                path,
                _QUICK,
                on_pause=setup.deps.pauses.request_read,
                on_route=setup.deps.route_changes.request_read,
                on_cancel=setup.deps.poll_state.record_cancel_request,
            )
        )
        async with _running(task):
            await eventually(lambda: _is_open(path), "it listens")
            pid = await _listener(setup)
            await seen(lambda: queries.asked["notify_echo"] >= 3, "three heartbeats")
            assert await _listener(setup) == pid
    assert not [line for line in lines if line.get("path") == "dispatch"]


async def test_a_dead_subscription_to_wake_ups_is_replaced(embedded_redis_url: str) -> None:
    path = wake_pushes()
    async with (
        redis_behind_a_relay(embedded_redis_url) as (relay, far_url),
        connect_redis(far_url) as far,
        connect_redis(embedded_redis_url) as near,
    ):
        lane = RecordingLane(Lane.SUBMIT, near)
        with capture_logs() as lines:
            task = asyncio.create_task(forward_wake_ups(DeliveryQueue(far), [lane], path, _QUICK))
            async with _running(task):
                await eventually(lambda: _is_open(path), "it is subscribed")
                assert relay.freeze(hides_ends=True) >= 1
                await eventually(lambda: _is_closed(path), "the dead subscription is noticed")
                await eventually(lambda: _is_open(path), "it is subscribed again", 15)
                assert lane.calls == 3, "it is woken when it may have missed something"
                await near.publish(WAKE_UP_CHANNEL, lane.queue_name)
                await seen(lambda: lane.calls == 4, "the lane is woken", 2)
    events = [line["event"] for line in lines if line.get("path") == "wake"]
    assert events == ["push_connection_lost", "push_connection_restored"]


async def test_a_dead_subscription_to_changes_is_replaced_and_waits_are_pushed_again(
    embedded_redis_url: str,
) -> None:
    told: list[Change] = []
    async with (
        redis_behind_a_relay(embedded_redis_url) as (relay, far_url),
        connect_redis(far_url) as far,
        connect_redis(embedded_redis_url) as near,
    ):
        subscription = ChangeSubscription(DeliveryQueue(far), _QUICK)
        subscription.add(told.extend)
        subscription.start()
        try:
            await eventually(lambda: _is_open(subscription.path), "it is subscribed")
            relay.freeze(hides_ends=True)
            await eventually(lambda: _is_closed(subscription.path), "it is noticed")
            await eventually(lambda: _is_open(subscription.path), "it is subscribed again", 15)
            change = Change(uuid4())
            await DeliveryQueue(near).publish_changes([change])

            async def is_told() -> bool:
                return change in told

            await eventually(is_told, "the news is heard", 2)
        finally:
            await subscription.close()


async def test_forgotten_connections_of_the_pool_end_with_a_statement_and_are_replaced(
    database_url: str,
) -> None:
    async with (
        _postgres_behind_a_relay(database_url) as (relay, far_url),
        connect_database(far_url, connections=3, command_timeout_seconds=0.5) as database,
    ):
        await asyncio.gather(*(database.ping() for _ in range(3)))
        relay.freeze(hides_ends=True)
        began = monotonic()
        outcomes = [await _outcome(database.fetch("snapshot_now")) for _ in range(6)]
        assert monotonic() - began < _LONGEST_SECONDS
        assert outcomes[-1] == "ok", outcomes
        assert set(outcomes) <= {"ok", "PostgresDown"}


async def test_forgotten_connections_to_redis_end_with_a_command_and_are_replaced(
    embedded_redis_url: str,
) -> None:
    async with (
        redis_behind_a_relay(embedded_redis_url) as (relay, far_url),
        connect_redis(far_url, connections=3) as far,
    ):
        await asyncio.gather(*(far.ping() for _ in range(3)))
        relay.freeze(hides_ends=True)
        began = monotonic()
        outcomes = [await _outcome(DeliveryQueue(far).ping()) for _ in range(5)]
        assert monotonic() - began < _LONGEST_SECONDS
        assert outcomes[-1] == "ok", outcomes


async def test_sockets_to_both_servers_are_probed_while_they_are_idle(
    database_url: str, embedded_redis_url: str
) -> None:
    async with (
        _postgres_behind_a_relay(database_url) as (to_postgres, far_url),
        connect_database(far_url, connections=1) as database,
        redis_behind_a_relay(embedded_redis_url) as (to_redis, redis_url),
        connect_redis(redis_url) as redis,
    ):
        await database.ping()
        await redis.ping()
        for port in (to_postgres.port, to_redis.port):
            sockets = _sockets_to(port)
            assert sockets
            for one in sockets:
                with one:
                    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                    for option, value in tcp_options().items():
                        assert one.getsockopt(socket.IPPROTO_TCP, option) == value


def _sockets_to(port: int) -> list[socket.socket]:
    """Return copies of this process's sockets that are connected to that port."""
    found = []
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # no socket, or the folder itself, which is closed by now
            copy = socket.socket(fileno=os.dup(int(name)))
            try:
                is_it = copy.family == socket.AF_INET and copy.getpeername()[1] == port
            except OSError:
                is_it = False
            if is_it:
                found.append(copy)
            else:
                copy.close()
    return found


async def test_what_is_found_without_a_push_is_counted_by_path_and_said_once(
    setup: WorkerSetup,
) -> None:
    registry, path = CollectorRegistry(), PushChannel("wait", "it looks every 2 s")
    export_push_channels(registry, [path])
    with capture_logs() as lines:
        for _ in range(5):
            path.record_found_without_push(2)
        path.record_push()
        path.record_found_without_push(1)
    assert [line["event"] for line in lines] == ["pushes_missing"]
    assert registry.get_sample_value("darkroom_fallback_total", {"path": "wait"}) == 11


async def test_what_the_reconciler_finds_for_want_of_a_notification_is_counted(
    setup: WorkerSetup, database_url: str
) -> None:
    callers = await asyncpg.connect(database_url)
    try:
        async with callers.transaction():
            await setup.enqueue(connection=callers)
    finally:
        await callers.close()
    await setup.sql("UPDATE chosen_jobs SET chosen_at = now() - interval '5 s'")
    await Reconciler(setup.deps).run_once()
    assert setup.deps.metrics.dispatch_pushes.found == 1
    assert setup.registry.get_sample_value("darkroom_fallback_total", {"path": "dispatch"}) == 1


async def test_a_wait_whose_push_was_lost_is_answered_by_a_query_and_counted(
    producer: Producer, servers: Servers, embedded_redis_url: str
) -> None:
    await producer.billing.create_account("acme")
    await producer.billing.grant("acme", Decimal(100), "for the test")
    async with (
        redis_behind_a_relay(embedded_redis_url) as (relay, far_url),
        Producer.connect_to(replace(servers, redis_url=far_url)) as waiting,
    ):
        job = await producer.enqueue(text_to_image(), account_id="acme")
        wait = asyncio.create_task(waiting.wait(job.id, timeout_seconds=20))
        await eventually(lambda: _is_open(waiting.push_path), "it is subscribed")
        # By then its first run has found the job open as well.
        await waiting.get(job.id)
        relay.freeze(hides_ends=True)
        await producer.cancel(job.id)
        assert (await wait).state == "cancelled"
        assert waiting.push_path.found == 1


async def test_claims_made_while_wake_ups_are_lost_are_counted(redis: ArqRedis) -> None:
    path, runs = wake_pushes(), Runs()
    lane = lane_over(redis, runs, lane=Lane.SUBMIT, wake_pushes=path)
    async with running(lane):
        path.record_open()
        await deliver(redis, 2, lane=Lane.SUBMIT)
        await runs.reach(2)
        assert path.found == 0
        path.record_closed("cut")
        lane.wake()  # as who listens does, and from then on it claims at intervals
        await deliver(redis, 3, lane=Lane.SUBMIT)
        await runs.reach(5)
    assert path.found == 3


def _gauge(registry: CollectorRegistry, path: str) -> float | None:
    return registry.get_sample_value("darkroom_push_connection_open", {"path": path})


async def _seconds_until_dispatched(setup: WorkerSetup, database_url: str) -> float:
    callers = await asyncpg.connect(database_url)
    try:
        async with callers.transaction():
            job = await setup.enqueue(connection=callers)
    finally:
        await callers.close()
    began = monotonic()

    async def is_there() -> bool:
        return await setup.delivery_due_in_seconds(job.id, Lane.SUBMIT) is not None

    await eventually(is_there, "the job is delivered", 10)
    return monotonic() - began


async def _listener(setup: WorkerSetup) -> int:
    statement = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND query ILIKE 'LISTEN%'"
    )
    (row,) = await setup.sql(statement)
    return int(row["pid"])


async def _outcome(asking: Awaitable[object]) -> str:
    try:
        await asking
    except DependencyDown as error:
        return type(error).__name__
    return "ok"
