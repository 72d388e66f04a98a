"""What a heartbeat finds to do, and what an idle worker asks of Postgres and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from time import monotonic
from typing import Any

import pytest
from arq.connections import ArqRedis

from shared.adapters.postgres.database import connect_database
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import HEARTBEAT_SECONDS, ProcessRegistry
from shared.domain.kie_outcomes import Accepted, Ambiguous
from shared.domain.lifecycle import Reason
from tests.integration.worker.test_late_tasks import given_up
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.deployment import Deployment
from tests.support.redis_commands import counted_redis_commands
from worker.queue.pending_work import PendingWork
from worker.queue.periodic_work import LONGEST_CHECK_SECONDS

_WATCHED_SECONDS = 2 * HEARTBEAT_SECONDS


async def _find(setup: WorkerSetup) -> dict[str, Any]:
    ((row),) = await setup.sql("SELECT darkroom_pending_work(NULL, NULL, 15) AS found")
    return dict(row["found"])


async def _queue(setup: WorkerSetup) -> None:
    await setup.enqueue()


async def _generate(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t" * 32))
    await setup.submit(job)


async def _lose_reply(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Ambiguous(Reason.REPLY_LOST, "timeout"))
    await setup.submit(job)


async def _call_back(setup: WorkerSetup) -> None:
    await given_up(setup)
    await setup.sql("DELETE FROM chosen_jobs")
    assert not (await _find(setup))["reconcile"], "the job has ended"
    await setup.sql(
        "INSERT INTO callback_inbox (token, provider_task_id) SELECT token, 'b' FROM job_attempts"
    )


async def _announce(setup: WorkerSetup) -> None:
    job = await setup.enqueue(webhook_url="https://shop.example/hook")
    await setup.producer.cancel(job.id)
    await setup.sql("DELETE FROM chosen_jobs")


@pytest.mark.parametrize("happen", [_queue, _generate, _lose_reply, _call_back, _announce])
async def test_the_reconciler_is_needed_while_anything_is_open(
    setup: WorkerSetup, happen: Callable[[WorkerSetup], Awaitable[None]]
) -> None:
    assert not (await _find(setup))["reconcile"]
    await happen(setup)
    assert (await _find(setup))["reconcile"]


async def test_a_job_of_a_later_time_needs_nobody_yet(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await setup.sql("DELETE FROM chosen_jobs")
    await setup.sql("UPDATE jobs SET due_at = now() + interval '1 hour' WHERE id = $1", job.id)
    assert not (await _find(setup))["reconcile"]


async def test_late_tasks_and_scheduled_prices_are_needed_when_they_are_due(
    setup: WorkerSetup,
) -> None:
    await given_up(setup)
    await setup.sql(
        "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
        " SELECT model, task, quantity, credits, now() + interval '1 hour', 'later' FROM pricing"
        " ORDER BY model, task, quantity LIMIT 1"
    )
    before = await _find(setup)
    assert (before["late_tasks"], before["prices"]) == (False, False)
    await setup.sql("UPDATE late_tasks SET next_check_at = now()")
    await setup.sql("ALTER TABLE scheduled_prices DISABLE TRIGGER USER")
    await setup.sql("UPDATE scheduled_prices SET takes_effect_at = now()")
    found = await _find(setup)
    assert (found["late_tasks"], found["prices"]) == (True, True)


async def test_pauses_and_routes_change_their_marks(setup: WorkerSetup) -> None:
    before = await _find(setup)
    pause = await setup.producer.pauses.pause("account", "acme", reason="for the test")
    paused = await _find(setup)
    assert paused["pauses"] != before["pauses"]
    await setup.producer.pauses.resume(pause.id)
    assert (await _find(setup))["pauses"] == before["pauses"]


async def test_a_locked_table_fails_no_heartbeat_and_everything_counts_as_needed(
    setup: WorkerSetup, database_url: str, redis: ArqRedis
) -> None:
    work = PendingWork()
    async with connect_database(database_url, lock_timeout_seconds=0.1) as database:
        process = Process("worker", redis="here:6379/0", database="here:5432/mine")
        registry = ProcessRegistry(database, redis, process, requests=work)
        for _ in range(3):
            await registry.send_heartbeat()
        assert work.is_quiet
        async with setup.database.transaction() as queries:
            await queries.connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            assert await registry.send_heartbeat() is not None
        assert registry.last_error is None
    assert all(event.is_set() for event in work.needed.values())


async def test_an_idle_worker_asks_within_its_budget_and_starts_a_job_at_once(
    deployment: Deployment, redis: ArqRedis
) -> None:
    async with deployment.worker() as resources:
        work = resources.deps.pending_work
        # What a start does once: the first alerts, and the periodic work of all intervals.
        await asyncio.sleep(LONGEST_CHECK_SECONDS + 2)
        assert work.is_quiet
        async with counted_redis_commands(redis) as commands:
            statements = await _statements(deployment, _WATCHED_SECONDS)
        done = await deployment.ended(await deployment.enqueue())
    assert commands.sent.total() <= 1.5 * _WATCHED_SECONDS, commands.sent
    assert len(statements) <= 1 + _WATCHED_SECONDS / 5, "\n".join(statements)
    assert done.submitted_at is not None
    waited_seconds = (done.submitted_at - done.created_at).total_seconds()
    assert waited_seconds < 1, f"{waited_seconds:.2f} s: as if no wake-up had come"


async def _statements(deployment: Deployment, seconds: float) -> list[str]:
    """Return the statements of the worker in that time, without those of the hourly check of Kie's
    models. Of several of one session within 50 ms, only the last is seen.
    """
    seen: dict[tuple[int, datetime], str] = {}
    (row,) = await deployment.run_sql("SELECT clock_timestamp() AS since")
    since, began_at = row["since"], monotonic()
    while monotonic() < began_at + seconds:
        for row in await deployment.run_sql(
            "SELECT pid, query_start, query FROM pg_stat_activity"
            " WHERE query_start > $1::timestamptz AND datname = current_database()"
            " AND application_name = 'darkroom-worker' AND query !~ 'kie_models'",
            since,
        ):
            seen[row["pid"], row["query_start"]] = row["query"][:60]
        await asyncio.sleep(0.05)
    return list(seen.values())
