"""A job enqueued inside a caller's own transaction starts when that transaction commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import asyncpg
import pytest

from producer import Job
from shared.adapters.redis.deliveries import DeliveryQueue, Lane, connect_redis
from shared.domain.kie_outcomes import Accepted
from tests.integration.worker.worker_setup import WorkerSetup, listen
from tests.support.deployment import eventually, text_to_image

_LISTENERS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND query ILIKE 'LISTEN%darkroom_dispatch%'"
)


@pytest.fixture
async def dispatching(setup: WorkerSetup, database_url: str) -> AsyncIterator[None]:
    """Dispatch in the background, from when it listens."""
    task = asyncio.create_task(listen(setup.deps, database_url))
    await _listener_other_than(setup, None)
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def callers(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A caller's own connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.usefixtures("dispatching")
async def test_it_is_delivered_within_200_ms_of_the_commit_and_not_before(
    setup: WorkerSetup, callers: asyncpg.Connection[asyncpg.Record]
) -> None:
    lags = []
    for _ in range(5):
        async with callers.transaction():
            job = await setup.enqueue(connection=callers)
            assert await setup.delivery_due_in_seconds(job.id, Lane.SUBMIT) is None
        committed_at = monotonic()
        await _delivered(setup, job)
        lags.append(monotonic() - committed_at)
    assert sorted(lags)[2] < 0.2, lags


@pytest.mark.usefixtures("dispatching")
async def test_what_is_rolled_back_is_never_delivered(
    setup: WorkerSetup, callers: asyncpg.Connection[asyncpg.Record]
) -> None:
    transaction = callers.transaction()
    await transaction.start()
    lost = await setup.enqueue(connection=callers)
    await transaction.rollback()
    async with callers.transaction():
        kept = await setup.enqueue(text_to_image("another"), connection=callers)
    await _delivered(setup, kept)
    assert await setup.delivery_due_in_seconds(lost.id, Lane.SUBMIT) is None


@pytest.mark.usefixtures("dispatching")
async def test_it_survives_its_connection_being_terminated(
    setup: WorkerSetup, callers: asyncpg.Connection[asyncpg.Record]
) -> None:
    pid = await _listener_other_than(setup, None)
    await setup.sql("SELECT pg_terminate_backend($1)", pid)
    assert await _listener_other_than(setup, pid) != pid
    async with callers.transaction():
        job = await setup.enqueue(connection=callers)
    await _delivered(setup, job)


async def test_redis_away_at_a_notification_does_not_end_the_listening(
    setup: WorkerSetup, callers: asyncpg.Connection[asyncpg.Record], database_url: str
) -> None:
    later = setup.deps.settings.darkroom_home / "later.sock"
    redis_url = setup.deps.settings.redis_url
    assert redis_url is not None
    async with connect_redis(f"unix://{later}") as client:
        deps = setup.with_deps(delivery_queue=DeliveryQueue(client)).deps
        task = asyncio.create_task(listen(deps, database_url))
        await _listener_other_than(setup, None)
        async with callers.transaction():
            first = await setup.enqueue(connection=callers)
        later.symlink_to(redis_url.get_secret_value().removeprefix("unix://").partition("?")[0])
        async with callers.transaction():
            second = await setup.enqueue(connection=callers)
        await _delivered(setup, second)
        await _delivered(setup, first)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("dispatching")
async def test_a_worker_is_told_of_a_cancel_request_and_ignores_what_is_no_job(
    setup: WorkerSetup,
) -> None:
    setup.kie.submits.append(Accepted("t1"))
    job = await setup.enqueue()
    await setup.submit(job)
    polled = await setup.deps.store.load_for_poll(job.id)
    assert polled is not None
    assert setup.deps.poll_state.is_awaited(polled)
    await setup.sql("SELECT pg_notify('darkroom_cancels', 'no id')")
    await setup.producer.cancel(job.id)

    async def is_told() -> bool:
        return not setup.deps.poll_state.is_awaited(polled)

    await eventually(is_told, "the worker knows of the request", 10)


async def _delivered(setup: WorkerSetup, job: Job) -> None:
    async def is_there() -> bool:
        return await setup.delivery_due_in_seconds(job.id, Lane.SUBMIT) is not None

    await eventually(is_there, f"job {job.id} is delivered", 10)


async def _listener_other_than(setup: WorkerSetup, pid: int | None) -> int:
    found: list[int] = []

    async def is_there() -> bool:
        found[:] = [row["pid"] for row in await setup.sql(_LISTENERS) if row["pid"] != pid]
        return bool(found)

    await eventually(is_there, "somebody listens for dispatches", 10)
    return found[0]
