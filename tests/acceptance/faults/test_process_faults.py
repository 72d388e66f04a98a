"""Workers that die, clocks that are wrong, receivers that take nothing: what every output says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis

from producer import Producer
from shared.adapters.process_beat import Process
from shared.adapters.process_registry import ProcessRegistry
from shared.adapters.server_clock import ServerClock
from tests.acceptance.cli.driving import Darkroom
from tests.acceptance.faults.playing import Fault, Stage, play, servers_of, set_stage
from tests.fakes.receiver import receiving
from tests.workshop import Workshop, eventually, text_to_image


@asynccontextmanager
async def _clock_ahead(stage: Stage) -> AsyncIterator[None]:
    """Let another process beat whose machine is half an hour ahead."""
    ahead = ServerClock(local=lambda: datetime.now(UTC) + timedelta(minutes=30))
    process = Process("api", redis="a", database="b", name="elsewhere:7")
    registry = ProcessRegistry(stage.workshop.database, stage.redis, process, clock=ahead)
    async with registry.running():
        yield


@asynccontextmanager
async def _one_of_two_workers_killed(stage: Stage) -> AsyncIterator[None]:
    async with stage.workshop.worker_process() as second:
        await eventually(_alive(stage, 2), "two workers are alive")
        await second.kill()
        await _let_time_pass(stage, "worker", second.process.pid)
        yield
        # Somebody starts another in its place.
        await stage.until_the_end.enter_async_context(stage.workshop.worker_process())


def _alive(stage: Stage, count: int) -> Callable[[], Awaitable[bool]]:
    async def are_alive() -> bool:
        return await stage.metric("api", "darkroom_workers", state="alive") == count

    return are_alive


async def _let_time_pass(stage: Stage, kind: str, pid: int) -> None:
    """Let ten seconds pass for a process that beats no more: a test waits for the other five."""
    await stage.sql("UPDATE processes SET started_at = started_at - interval '1 min'")
    changed = await stage.sql(
        "UPDATE processes SET seen_at = seen_at - interval '10 s'"
        " WHERE kind = $1 AND name LIKE $2 RETURNING name",
        kind,
        f"%:{pid}",
    )
    assert len(changed) == 1


@asynccontextmanager
async def _receiver_refuses(stage: Stage) -> AsyncIterator[None]:
    async with (
        receiving() as receiver,
        Producer.over(servers_of(stage), webhooks_allow_loopback=True) as producer,
    ):
        receiver.answer_in_turn(500, 500)
        url = f"{receiver.url}/hook"
        for _ in range(2):
            await producer.enqueue(text_to_image(), account_id="acme", webhook_url=url)
        await receiver.has(2)
        yield
        for row in await stage.sql("SELECT id FROM webhook_messages"):
            # The next try would be half a minute away; the receiver is well again.
            receiver.answering = None
            await producer.webhooks.replay(row["id"])

        async def are_taken() -> bool:
            rows = await stage.sql("SELECT id FROM webhook_messages WHERE state = 'delivered'")
            return len(rows) == 2

        await eventually(are_taken, "the webhooks are taken")


FAULTS = [
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
        "/hook did not take 2 webhooks",
        "each is tried again for a day",
    ),
    Fault(
        "one of two workers is killed",
        "worker_lost",
        _one_of_two_workers_killed,
        "died or lost Postgres; 1 are alive",
        "start another",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_output_tells_it_and_is_content_afterwards(
    workshop: Workshop, darkroom: Darkroom, redis: ArqRedis, fault: Fault
) -> None:
    async with set_stage(workshop, darkroom, redis, webhooks_allow_loopback=True) as stage:
        await play(stage, fault)
