"""A Postgres that refuses writes for a while, after Kie was paid and before this is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
import structlog

from producer import Job, JobState
from shared.adapters.postgres.database import Connection
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually, fast_simulator_config
from worker.recovery.task_id_backup import BACKUP_KEY
from worker.simulator import Durations, Simulator, running_simulator

JOBS = 5
CREATE_SECONDS = 2.0
"""The time that Kie takes to create a task, in which Postgres is stopped."""
ORDER = {
    "account_id": "acme",
    "model": "gpt-4o-image",
    "task": "text-to-image",
    "prompt": "a lighthouse",
    "aspect_ratio": "3:2",
}
Refusal = Callable[[Connection], AbstractAsyncContextManager[None]]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie that takes its time to make a task."""
    config = fast_simulator_config(
        create_latency_seconds=CREATE_SECONDS,
        latency_jitter=0.0,
        durations=Durations(median_seconds=0.3, sigma=0.0),
    )
    async with running_simulator(config) as simulator:
        yield simulator


@pytest.fixture
async def operator(database_url: str) -> AsyncIterator[Connection]:
    """A session that changes the server's behaviour, and is never refused."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET default_transaction_read_only = off")
    yield connection
    await connection.close()


@asynccontextmanager
async def read_only(operator: Connection) -> AsyncIterator[None]:
    """Make the server read-only, as clients see it after a failover."""
    await operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await operator.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        await operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await operator.execute("SELECT pg_reload_conf()")


def raising(sqlstate: str, words: str) -> Refusal:
    """Refuse every write to jobs and processes with that code, as a full disk does."""

    @asynccontextmanager
    async def refuse(operator: Connection) -> AsyncIterator[None]:
        await operator.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '{sqlstate}'; END $$"
        )
        for table in ("jobs", "processes"):
            await operator.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
            )
        try:
            yield
        finally:
            await operator.execute("DROP FUNCTION refuse() CASCADE")

    return refuse


async def paid(deployment: Deployment, count: int) -> None:
    """Wait until Kie has made that many tasks."""

    async def is_so() -> bool:
        summary: Any = deployment.simulator.record.summary()
        return bool(summary["creates"]["created"] >= count)

    await eventually(is_so, f"{count} tasks at Kie")


@asynccontextmanager
async def refused_while_paid(
    deployment: Deployment, operator: Connection, refuse: Refusal
) -> AsyncIterator[list[Job]]:
    """Yield jobs whose tasks Kie has created while Postgres refuses. Then Postgres serves again."""
    jobs = [await deployment.enqueue() for _ in range(JOBS)]
    await asyncio.gather(*(deployment.in_state(job, "submitting") for job in jobs))
    async with refuse(operator):
        await paid(deployment, JOBS)
        yield jobs


@pytest.mark.parametrize(
    ("refuse", "sqlstate", "words"),
    [
        (read_only, "25006", "in a read-only transaction"),
        (raising("53100", "could not extend file: No space left"), "53100", "No space left"),
        (raising("53200", "out of memory"), "53200", "out of memory"),
        (raising("42501", "permission denied for table jobs"), "42501", "permission denied"),
    ],
    ids=["read-only", "disk-full", "out-of-memory", "no-permission"],
)
async def test_paid_tasks_are_stored_once_the_server_serves_again(
    deployment: Deployment, operator: Connection, refuse: Refusal, sqlstate: str, words: str
) -> None:
    async with deployment.worker() as resources, deployment.api() as api:
        with structlog.testing.capture_logs() as logs:
            async with refused_while_paid(deployment, operator, refuse) as jobs:

                async def is_told() -> bool:
                    told = [one for one in logs if one["event"] == "task_id_not_stored_yet"]
                    return len(told) == JOBS

                await eventually(is_told, "every task id is in the log")
                await _check_the_api(api, sqlstate, words)
                kept: dict[bytes, bytes] = await resources.deps.delivery_queue.redis.hgetall(  # type: ignore[misc]
                    BACKUP_KEY
                )
                assert len(kept) == JOBS
            ended = [await deployment.ended(job, 60) for job in jobs]
        assert {job.state for job in ended} == {JobState.SUCCEEDED}
        told = {
            one["job_id"]: one["provider_task_id"]
            for one in logs
            if one["event"] == "task_id_not_stored_yet" and one["log_level"] == "error"
        }
        assert told == {str(job.id): job.provider_task_id for job in ended}

        async def is_ready() -> bool:
            return (await api.get("/readyz")).status == 200

        await eventually(is_ready, "the API is ready again", 15)
        assert not await resources.deps.delivery_queue.redis.exists(BACKUP_KEY)
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def _check_the_api(api: ApiClient, sqlstate: str, words: str) -> None:
    answer = await api.post("/v1/jobs", ORDER)
    problem = answer.expect(503)
    assert problem["type"] == "urn:darkroom:problem:postgres_down"
    assert sqlstate in problem["detail"]
    assert answer.headers["Retry-After"] == "2"

    async def is_red() -> bool:
        return (await api.get("/readyz")).status == 503

    await eventually(is_red, "/readyz of the API is red", 10)
    said = (await api.get("/readyz")).expect(503)["checks"]["postgres"]
    assert words in said
    assert sqlstate in said


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_a_stricter_default_isolation_loses_nothing_with_three_workers(
    deployment: Deployment, operator: Connection, database_url: str, level: str
) -> None:
    name = database_url.rpartition("/")[2]
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(deployment.worker())
        jobs = [await deployment.enqueue() for _ in range(60)]
        ended = [await deployment.ended(job, 60) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_a_killed_worker_leaves_its_task_ids_to_the_next_one(
    deployment: Deployment, operator: Connection
) -> None:
    """kill -9 while Postgres refuses; the next worker starts when it serves again."""
    folder = deployment.settings.darkroom_home / "evidence"
    async with (
        deployment.worker_process() as doomed,
        refused_while_paid(deployment, operator, read_only) as jobs,
    ):

        async def are_kept() -> bool:
            return len(list(folder.glob("*.json"))) == JOBS

        await eventually(are_kept, "every task id is in a file")
        await doomed.kill()
    assert sum("task_id_not_stored_yet" in line for line in doomed.lines) == JOBS
    async with deployment.worker():
        ended = [await deployment.ended(job, 60) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert list(folder.iterdir()) == []
    deployment.check_paid_once()
    await deployment.check_invariants_hold()
