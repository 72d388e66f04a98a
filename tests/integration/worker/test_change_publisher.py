"""Every event is published, many in one message. No step waits for it or fails with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import structlog
from arq.connections import ArqRedis

from producer import Job
from shared.adapters.redis.change_messages import Change, decode_changes
from shared.adapters.redis.deliveries import connect_redis
from shared.domain.kie_outcomes import (
    Accepted,
    Ambiguous,
    Delivered,
    Pending,
    Refused,
    SubmitOutcome,
    TaskFailed,
    TryLater,
)
from shared.domain.lifecycle import Reason
from shared.redis_keys import CHANGES_CHANNEL
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.bare_lanes import redis_behind_a_relay
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.deployment import eventually
from worker.batching.change_publisher import MAX_BACKLOG, ChangePublisher, send_with
from worker.batching.micro_batch import BATCHES_PER_SECOND
from worker.batching.redis_scripts import RedisScripts
from worker.recovery.reconciler import Reconciler

URL = "https://example.com/1.png"


class PublishedMessages:
    """The published messages."""

    def __init__(self) -> None:
        self.messages: list[list[Change]] = []

    @property
    def changes(self) -> list[Change]:
        return [change for message in self.messages for change in message]

    async def reaches(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.changes) >= count

        await eventually(enough, f"{count} changes are published")


@asynccontextmanager
async def reading(redis: ArqRedis) -> AsyncIterator[PublishedMessages]:
    """Read all that is published."""
    published = PublishedMessages()
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANGES_CHANNEL)
        assert (await pubsub.get_message(timeout=10) or {})["type"] == "subscribe"

        async def read() -> None:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    published.messages.append(decode_changes(message["data"].decode()))

        task = asyncio.create_task(read())
        try:
            yield published
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_changes_of_one_tick_are_one_message(redis: ArqRedis) -> None:
    publisher = ChangePublisher(send_with(RedisScripts(redis)))
    changes = [Change(uuid4(), has_ended=number % 2 == 0) for number in range(50)]
    async with reading(redis) as published:
        for change in changes:
            publisher.publish(change)
        await published.reaches(50)
    assert published.messages == [changes]
    await publisher.close()


async def test_a_busy_worker_publishes_all_changes_in_few_messages(redis: ArqRedis) -> None:
    publisher = ChangePublisher(send_with(RedisScripts(redis)))
    loop = asyncio.get_running_loop()
    async with reading(redis) as published:
        began = loop.time()
        for _ in range(400):
            publisher.publish(Change(uuid4()))
            await asyncio.sleep(0)
        took = loop.time() - began
        await published.reaches(400)
    # Twenty at once, then one per interval.
    assert len(published.messages) <= 22 + took * BATCHES_PER_SECOND
    await publisher.close()


async def test_an_end_among_the_changes_of_a_job_is_not_forgotten(redis: ArqRedis) -> None:
    publisher, job_id = ChangePublisher(send_with(RedisScripts(redis))), uuid4()
    async with reading(redis) as published:
        publisher.publish(Change(job_id))
        publisher.publish(Change(job_id, has_ended=True))
        publisher.publish(Change(job_id))
        await published.reaches(1)
    assert published.changes == [Change(job_id, has_ended=True)]
    await publisher.close()


async def test_only_an_end_is_told_to_this_worker(redis: ArqRedis) -> None:
    publisher = ChangePublisher(send_with(RedisScripts(redis)))
    publisher.publish(Change(uuid4()))
    assert not publisher.job_ended.is_set()
    publisher.publish(Change(uuid4(), has_ended=True))
    assert publisher.job_ended.is_set()
    await publisher.close()


async def test_unpublished_changes_are_published_before_the_worker_stops(redis: ArqRedis) -> None:
    publisher = ChangePublisher(send_with(RedisScripts(redis)))
    async with reading(redis) as published:
        publisher.publish(Change(uuid4()))
        await asyncio.sleep(0)
        publisher.publish(Change(uuid4()))
        await publisher.close()
        await published.reaches(2)


async def test_an_outage_is_survived_within_bounds_and_said_once_a_try(
    embedded_redis_url: str, redis: ArqRedis
) -> None:
    tries: list[int] = []

    async with (
        redis_behind_a_relay(embedded_redis_url) as (outage, url),
        connect_redis(url) as far,
    ):
        say = send_with(RedisScripts(far))

        async def counting(changes: Sequence[Change]) -> None:
            tries.append(len(changes))
            await say(changes)

        publisher = ChangePublisher(counting, outage_seconds=0.05)
        await outage.cut()
        with structlog.testing.capture_logs() as logs:
            for _ in range(MAX_BACKLOG * 2 + 10):
                publisher.publish(Change(uuid4()))

            async def has_tried() -> bool:
                return len(tries) >= 1

            await eventually(has_tried, "a try")
            publisher.publish(Change(uuid4()))
            await publisher.close()
        assert {log["event"] for log in logs} == {"dependency_down"}
        assert max(tries) <= MAX_BACKLOG
        await outage.restore()
        async with reading(redis) as published:
            publisher.publish(Change(uuid4()))
            await published.reaches(1)
        await publisher.close()


# --- the steps ------------------------------------------------------------------------------


@asynccontextmanager
async def noted(setup: WorkerSetup) -> AsyncIterator[tuple[WorkerSetup, list[Change]]]:
    """Yield the setup with a list of what they announce."""
    changes: list[Change] = []
    yield setup.with_deps(publish_change=changes.append), changes


@pytest.mark.parametrize(
    ("kie_outcome", "told"),
    [
        (Accepted("t1"), ["claimed", "submitted"]),
        (TryLater(Reason.RATE_LIMITED, "429"), ["claimed", "deferred"]),
        (Ambiguous(Reason.REPLY_LOST, "lost"), ["claimed", "outcome_unknown"]),
        (Refused("no", 422), ["claimed", "rejected"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else None,
)
async def test_each_event_of_a_submit_is_announced(
    setup: WorkerSetup, kie_outcome: SubmitOutcome, told: list[str]
) -> None:
    async with noted(setup) as (own, changes):
        job = await own.enqueue()
        own.kie.submits.append(kie_outcome)
        await own.submit(job)
        assert (await own.events(job))[1:] == told
        assert {change.job_id for change in changes} == {job.id}
        assert len(changes) >= len(told)
        assert any(change.has_ended for change in changes) == (told[-1] == "rejected")


async def test_the_claim_is_announced_before_kie_is_asked(setup: WorkerSetup) -> None:
    async with noted(setup) as (own, changes):
        job = await own.enqueue()
        announced_by_then: list[int] = []

        class Watching(FakeKie):
            """A Kie that records the announced changes at each call."""

            async def submit(self, *_: object, **__: object) -> SubmitOutcome:
                announced_by_then.append(len(changes))
                return Accepted("t1")

        await own.with_kie(Watching()).submit(job)
    assert announced_by_then == [1]


@pytest.mark.parametrize(
    ("prepare", "told", "has_ended"),
    [
        (Pending(0.5), "progressed", False),
        (Delivered((URL,)), "completed", True),
        (TaskFailed(Reason.PROVIDER_FAILED, "broke"), "provider_failed", True),
    ],
    ids=["progress", "success", "failure"],
)
async def test_each_event_of_a_poll_is_announced(
    setup: WorkerSetup, prepare: Pending | Delivered | TaskFailed, told: str, has_ended: bool
) -> None:
    job = await _generating(setup)
    async with noted(setup) as (own, changes):
        own.kie.polls.append(prepare)
        await own.poll(job)
        assert (await own.events(job))[-1] == told
        assert changes == [Change(job.id, has_ended=has_ended)]


async def test_a_poll_that_changes_nothing_announces_nothing(setup: WorkerSetup) -> None:
    job = await _generating(setup)
    async with noted(setup) as (own, changes):
        own.kie.polls.append(Pending(0.0))
        await own.poll(job)
    assert changes == []


async def test_a_passed_deadline_is_announced(setup: WorkerSetup) -> None:
    job = await _generating(setup)
    await setup.let_pass(1801)
    async with noted(setup) as (own, changes):
        own.kie.polls.append(Pending(0.0))
        await own.poll(job)
    assert changes == [Change(job.id, has_ended=True)]


async def test_a_lost_worker_and_a_lost_submission_are_announced(setup: WorkerSetup) -> None:
    job = await _submitting_without_worker(setup)
    async with noted(setup) as (own, changes):
        await own.let_pass(60)
        await own.submit(job)
        assert (await own.events(job))[-1] == "outcome_unknown"
        assert changes == [Change(job.id)]
        changes.clear()
        late = own.with_settings(unknown_limit_seconds=0.0)
        await Reconciler(late.deps).unknown_submissions.end_overdue()
        assert (await own.events(job))[-1] == "submission_lost"
        assert changes == [Change(job.id, has_ended=True)]


async def test_what_the_reconciler_delivers_is_announced(
    setup: WorkerSetup, redis: ArqRedis
) -> None:
    job = await setup.enqueue()
    await redis.flushall()
    async with noted(setup) as (own, changes):
        await Reconciler(own.deps).deliver_recent(grace_seconds=0)
    assert changes == [Change(job.id)]


async def test_what_a_producer_does_is_announced(setup: WorkerSetup, redis: ArqRedis) -> None:
    async with reading(redis) as published:
        job = await setup.enqueue()
        await setup.producer.cancel(job.id)
        await published.reaches(2)
    assert published.messages == [[Change(job.id)], [Change(job.id, has_ended=True)]]


async def _generating(setup: WorkerSetup) -> Job:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    return await setup.now_is(job)


async def _submitting_without_worker(setup: WorkerSetup) -> Job:
    """Return a job whose worker died between its intent and Kie's reply."""
    job = await setup.enqueue()

    class Dying(FakeKie):
        """A Kie that is never heard of again."""

        async def submit(self, *_: object, **__: object) -> SubmitOutcome:
            raise RuntimeError("the worker dies here")

    with pytest.raises(RuntimeError):
        await setup.with_kie(Dying()).submit(job)
    return await setup.now_is(job)
