"""Workers that die, clocks that are wrong, receivers that take nothing: what every output says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from arq.connections import ArqRedis

from producer import Producer
from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.server_clock import ServerClock
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import ProcessRegistry
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.faults.fault_setup import (
    Fault,
    FaultSetup,
    open_fault_setup,
    play,
    servers_of,
    workers_alive,
)
from tests.fakes.fake_webhook_receiver import receiving
from tests.support.deployment import (
    Deployment,
    another_database,
    environment,
    eventually,
    text_to_image,
)
from tests.support.tcp_relay import relay_to


@asynccontextmanager
async def _clock_ahead(setup: FaultSetup) -> AsyncIterator[None]:
    """Let another process beat whose machine is half an hour ahead."""
    ahead = ServerClock(local=lambda: datetime.now(UTC) + timedelta(minutes=30))
    process = Process("api", redis="a", database="b", name="elsewhere:7")
    registry = ProcessRegistry(setup.deployment.database, setup.redis, process, clock=ahead)
    async with registry.running():
        yield


@asynccontextmanager
async def _one_of_two_workers_killed(setup: FaultSetup) -> AsyncIterator[None]:
    async with setup.deployment.worker_process() as second:
        await eventually(workers_alive(setup, 2), "two workers are alive")
        await second.kill()
        await _let_time_pass(setup, "worker", second.process.pid)
        yield
        # An operator starts another one.
        await setup.until_the_end.enter_async_context(setup.deployment.worker_process())


@asynccontextmanager
async def _only_worker_killed(setup: FaultSetup) -> AsyncIterator[None]:
    async with setup.deployment.worker_process() as only:
        await eventually(workers_alive(setup, 1), "the worker is alive")
        await only.kill()
        await setup.enqueue(2)
        await _let_time_pass(setup, "worker", only.process.pid)
        yield
        await setup.until_the_end.enter_async_context(setup.deployment.worker_process())


@asynccontextmanager
async def _worker_with_another_key(setup: FaultSetup) -> AsyncIterator[None]:
    async with setup.deployment.worker_process(KIE_API_KEY="a-key-of-another-account") as other:
        await eventually(workers_alive(setup, 2), "two workers are alive")
        yield
        await other.stop()


@asynccontextmanager
async def _process_loses_its_redis(setup: FaultSetup) -> AsyncIterator[None]:
    """Run one more worker, and cut its way to Redis; all others keep theirs."""
    socket = urlsplit(environment(setup.deployment.settings)["REDIS_URL"]).path
    relay = await setup.until_the_end.enter_async_context(relay_to(socket))
    other = await setup.until_the_end.enter_async_context(
        setup.deployment.worker_process(REDIS_URL=f"redis://127.0.0.1:{relay.port}")
    )
    await eventually(workers_alive(setup, 2), "two workers are alive")
    await relay.cut()
    changed = await setup.sql(
        "UPDATE processes SET started_at = started_at - interval '1 min',"
        " redis_seen_at = redis_seen_at - interval '10 s' WHERE name LIKE $1 RETURNING name",
        f"%:{other.process.pid}",
    )
    assert len(changed) == 1
    yield
    await relay.restore()


async def _let_time_pass(setup: FaultSetup, kind: str, pid: int) -> None:
    """Let ten seconds pass for a process that beats no more: a test waits for the other five."""
    await setup.sql("UPDATE processes SET started_at = started_at - interval '1 min'")
    changed = await setup.sql(
        "UPDATE processes SET seen_at = seen_at - interval '10 s'"
        " WHERE kind = $1 AND name LIKE $2 RETURNING name",
        kind,
        f"%:{pid}",
    )
    assert len(changed) == 1


@asynccontextmanager
async def _redis_of_another_darkroom(setup: FaultSetup) -> AsyncIterator[None]:
    """Let a worker of another database beat in this Redis, which marked itself long ago."""
    url = environment(setup.deployment.settings)["DATABASE_URL"]
    async with another_database(url) as other_url, connect_database(other_url) as database:
        process = Process("worker", redis="a", database="db:5432/shop", name="elsewhere:7")
        registry = ProcessRegistry(database, setup.redis, process, interval_seconds=0.5)
        registry._presence._since = b"1000"
        async with registry.running():
            yield


@asynccontextmanager
async def _receiver_refuses(setup: FaultSetup) -> AsyncIterator[None]:
    async with (
        receiving() as receiver,
        Producer.connect_to(servers_of(setup), webhooks_allow_loopback=True) as producer,
    ):
        receiver.answer_in_turn(500, 500)
        url = f"{receiver.url}/hook"
        for _ in range(2):
            await producer.enqueue(text_to_image(), account_id="acme", webhook_url=url)
        await receiver.has(2)
        yield
        # The next try would be in half a minute; the receiver works again.
        receiver.answering = None
        await _replay_all(setup, producer)


@asynccontextmanager
async def _webhooks_are_given_up(setup: FaultSetup) -> AsyncIterator[None]:
    # A message of a day ago, whose last try this is.
    await setup.sql("ALTER TABLE webhook_messages ALTER COLUMN retry_until SET DEFAULT now()")
    async with (
        receiving() as receiver,
        Producer.connect_to(servers_of(setup), webhooks_allow_loopback=True) as producer,
    ):
        receiver.answer_in_turn(500, 503)
        for _ in range(2):
            await producer.enqueue(
                text_to_image(), account_id="acme", webhook_url=f"{receiver.url}/hook"
            )
        await receiver.has(2)
        yield
        await _replay_all(setup, producer)


async def _replay_all(setup: FaultSetup, producer: Producer) -> None:
    for row in await setup.sql("SELECT id FROM webhook_messages"):
        await producer.webhooks.replay(row["id"])

    async def are_taken() -> bool:
        rows = await setup.sql("SELECT state FROM webhook_messages")
        return {row["state"] for row in rows} == {"delivered"}

    await eventually(are_taken, "the webhooks are taken")


FAULTS = [
    Fault(
        "another Darkroom was first in this Redis",
        "redis_of_another_database",
        _redis_of_another_darkroom,
        "worker elsewhere:7 of the database db:5432/shop uses",
        "a REDIS_PREFIX of its own",
        status=503,
        degrades_api=True,
        finding="redis serves this database alone",
    ),
    Fault(
        "a clock is half an hour ahead",
        "clock_skew",
        _clock_ahead,
        "the clock of elsewhere:7 is 1800 s ahead of",
        "NTP",
    ),
    Fault(
        "a receiver takes nothing",
        "webhooks_fail",
        _receiver_refuses,
        "/hook did not take ",
        "each is tried again for a day",
    ),
    Fault(
        "one of two workers is killed",
        "worker_lost",
        _one_of_two_workers_killed,
        "died or lost Postgres; 1 is alive",
        "start another",
    ),
    Fault(
        "the only worker is killed",
        "no_worker",
        _only_worker_killed,
        "no worker is running; 2 jobs wait and 0 tasks",
        "start one: `darkroom worker`",
        processes=("api",),
        has_worker=False,
    ),
    Fault(
        "a worker has another key",
        "keys_differ",
        _worker_with_another_key,
        "the Kie account default has one key at",
        "give all workers the same KIE_API_KEYS",
    ),
    Fault(
        "a process loses its Redis",
        "process_without_redis",
        _process_loses_its_redis,
        "cannot write to its Redis",
        "correct REDIS_URL of that process",
        finding="processes",
    ),
    Fault(
        "webhooks are given up",
        "webhooks_dead",
        _webhooks_are_given_up,
        "2 webhooks were given up",
        "darkroom webhooks replay",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_output_reports_the_fault_and_clears_afterwards(
    deployment: Deployment, darkroom: Darkroom, redis: ArqRedis, fault: Fault
) -> None:
    async with open_fault_setup(
        deployment, darkroom, redis, has_worker=fault.has_worker, webhooks_allow_loopback=True
    ) as setup:
        await play(setup, fault)
