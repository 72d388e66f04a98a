"""Lanes over bare functions, for tests of the claim."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix

from shared.adapters.monitoring.push_channels import PushChannel
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane, local_now_ms
from tests.support.deployment import eventually
from tests.support.tcp_relay import TcpRelay, relay_to
from worker.queue.delivery_run import UNCLAIMED, DeliveryRun
from worker.queue.leased_worker import LeasedWorker

Body = Callable[[str], Awaitable[None]]


class Runs:
    """A job function that records its runs and then performs the test's action."""

    def __init__(self, body: Body | None = None) -> None:
        self._body = body
        self.count: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        self.most_at_once = 0
        self.most_of_one_at_once = 0
        self.newest: dict[str, DeliveryRun] = {}

    async def run(self, ctx: dict[str, Any], job_id: str) -> None:
        """Be the arq function."""
        self.newest[job_id] = ctx.get("run", UNCLAIMED)
        self.count[job_id] += 1
        self.under_way[job_id] += 1
        self.most_of_one_at_once = max(self.most_of_one_at_once, self.under_way[job_id])
        self.most_at_once = max(self.most_at_once, self.under_way.total())
        try:
            if self._body is not None:
                await self._body(job_id)
        finally:
            self.under_way[job_id] -= 1

    async def reach(self, runs: int, timeout_seconds: float = 10) -> None:
        """Wait until that many runs have been started."""
        await seen(lambda: self.count.total() >= runs, f"{runs} runs", timeout_seconds)


def blocked_by(event: asyncio.Event) -> Body:
    """Return a body that waits for the event."""

    async def wait(_: str) -> None:
        await event.wait()

    return wait


async def seen(is_so: Callable[[], bool], what: str, timeout_seconds: float = 10) -> None:
    """Wait until something is so; fail saying what did not come about."""

    async def ask() -> bool:
        return is_so()

    await eventually(ask, what, timeout_seconds)


def lane_over(
    redis: ArqRedis, runs: Runs, *, lane: Lane = Lane.POLL, **options: Any
) -> LeasedWorker:
    """Return a lane that runs that function."""
    return LeasedWorker(lane, runs.run, redis=redis, **{"max_jobs": 10, **options})


@asynccontextmanager
async def running(*workers: LeasedWorker) -> AsyncIterator[None]:
    """Run these lanes. A lane that dies fails the test."""
    tasks = [asyncio.create_task(worker.run_until_cancelled()) for worker in workers]
    try:
        yield
        for task in tasks:
            assert not task.done(), f"a lane died: {task}"
    finally:
        left = [task for worker in workers for task in worker.tasks.values()]
        for task in tasks + left:
            task.cancel()
        if tasks + left:
            _, stuck = await asyncio.wait(tasks + left, timeout=10)
            assert not stuck, f"cancelled, but running on: {stuck}"
        for worker in workers:
            await worker.drain(0)  # what was handed back is on its way to Redis


class RecordingLane(LeasedWorker):
    """A lane that counts its wake-ups and claims nothing."""

    def __init__(self, lane: Lane, redis: ArqRedis) -> None:
        super().__init__(lane, Runs().run, redis=redis, max_jobs=1)
        self.calls = 0
        self.words: list[str] = []

    def wake(self, words: Sequence[str] = ()) -> None:
        """Count the call."""
        self.calls += 1
        self.words += words


def wake_pushes() -> PushChannel:
    """Return a path for wake-ups, as a worker's metrics have one."""
    return PushChannel("wake", "each lane claims twice a second")


async def deliver(
    redis: ArqRedis, count: int = 1, *, lane: Lane = Lane.POLL, delay_ms: int = 0
) -> list[UUID]:
    """Make deliveries of new job ids, due after the delay."""
    ids = [uuid4() for _ in range(count)]
    await DeliveryQueue(redis).deliver([Delivery(job_id, lane, delay_ms) for job_id in ids])
    return ids


async def score_of(redis: ArqRedis, job_id: UUID, lane: Lane = Lane.POLL) -> float | None:
    """Return when the delivery is due (epoch, ms), or None where there is none."""
    score: float | None = await redis.zscore(lane.value, lane.arq_id(job_id))
    return score


async def owner_of(redis: ArqRedis, job_id: UUID, lane: Lane = Lane.POLL) -> str | None:
    """Return the owner token of the delivery, or None where it is not claimed."""
    value = await redis.get(in_progress_key_prefix + lane.arq_id(job_id))
    return value.decode() if value else None


async def is_gone(redis: ArqRedis, job_id: UUID, lane: Lane = Lane.POLL) -> bool:
    """Return whether nothing is left of the delivery: no due time, no payload, no claim."""
    arq_id = lane.arq_id(job_id)
    keys = [job_key_prefix + arq_id, in_progress_key_prefix + arq_id, f"arq:retry:{arq_id}"]
    return await score_of(redis, job_id, lane) is None and not await redis.exists(*keys)


async def due_now(redis: ArqRedis, lane: Lane = Lane.POLL) -> int:
    """Return the number of deliveries in the window that workers read."""
    return int(await redis.zcount(lane.value, "-inf", local_now_ms()))


async def commands(redis: ArqRedis) -> Counter[str]:
    """Return how often each command has reached the server; subtract two to compare."""
    stats = await redis.info("commandstats")
    counts = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
    return Counter({name: calls for name, calls in counts.items() if name != "info"})


@asynccontextmanager
async def redis_behind_a_relay(url: str) -> AsyncIterator[tuple[TcpRelay, str]]:
    """Yield a relay before the Valkey of that socket URL, and the URL through it."""
    async with relay_to(urlsplit(url).path) as relay:
        yield relay, f"redis://127.0.0.1:{relay.port}"
