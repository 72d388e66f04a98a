"""The queue snapshot: queued and running jobs, recent ends, and the last failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isnan
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from producer.monitoring.latest_failures import read_failures
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.adapters.monitoring.gauges import QueueGauges
from shared.adapters.monitoring.queue_snapshot import QueueSnapshot, read_snapshot
from shared.adapters.postgres.database import Queries
from shared.domain import job_events
from shared.domain.lifecycle import JobState
from shared.errors import PostgresDown
from tests.integration.database.database_setup import DatabaseSetup


async def test_an_empty_queue_is_all_zeros_and_unknown_times(setup: DatabaseSetup) -> None:
    assert await read_snapshot(setup.database) == QueueSnapshot(
        queued=0,
        scheduled=0,
        paused=0,
        submitting=0,
        unknown=0,
        generating=0,
        held_for_review=0,
        oldest_waiting_seconds=0,
        accepted=0,
        submitted=0,
        succeeded=0,
        failed=0,
        cancelled=0,
        credits_charged=Decimal(0),
        credits_held=Decimal(0),
        wait_p50_seconds=None,
        wait_p95_seconds=None,
        run_p50_seconds=None,
        run_p95_seconds=None,
        lag_p50_seconds=None,
        lag_p95_seconds=None,
    )
    assert await read_failures(setup.database) == []


async def test_jobs_are_counted_by_state_and_credits_summed(setup: DatabaseSetup) -> None:
    for times, state in enumerate(JobState, start=1):
        for _ in range(times):
            await setup.job_in(state)
    snapshot = await read_snapshot(setup.database)
    counted = {state: getattr(snapshot, state) for state in JobState}
    assert counted == {state: times for times, state in enumerate(JobState, start=1)}
    assert snapshot.in_flight == 2 + 3 + 4
    assert (snapshot.credits_held, snapshot.credits_charged) == (10 * 6, 5 * 6)
    # Generating, succeeded and failed jobs have a task.
    assert (snapshot.accepted, snapshot.submitted) == (28, 4 + 5 + 6)


async def test_times_are_those_of_jobs_that_ended_in_the_last_five_minutes(
    setup: DatabaseSetup,
) -> None:
    for waited, ran, ended in ((2, 10, 1), (4, 20, 2), (6, 30, 299), (500, 500, 301)):
        job = await setup.job_in(JobState.SUCCEEDED)
        await setup.sql("ALTER TABLE jobs DISABLE TRIGGER jobs_end_once")
        await setup.sql(
            "UPDATE jobs SET finished_at = now() - make_interval(secs => $2),"
            " submitted_at = now() - make_interval(secs => $2 + $3),"
            " run_at = now() - make_interval(secs => $2 + $3 + $4),"
            " created_at = now() - make_interval(secs => $2 + $3 + $4) WHERE id = $1",
            job.id,
            *(float(one) for one in (ended, ran, waited)),
        )
    snapshot = await read_snapshot(setup.database)
    assert snapshot.succeeded == 3
    assert snapshot.credits_charged == 3 * 6
    assert (snapshot.wait_p50_seconds, snapshot.run_p50_seconds) == (4, 20)
    assert snapshot.wait_p95_seconds == pytest.approx(5.8)
    assert snapshot.run_p95_seconds == pytest.approx(29)


async def test_the_oldest_waiting_job_waits_since_it_was_due_or_accepted(
    setup: DatabaseSetup,
) -> None:
    async def put(job_id: UUID, **ages: float) -> None:
        for column, seconds in ages.items():
            await setup.sql(
                f"UPDATE jobs SET {column} = now() - make_interval(secs => $2) WHERE id = $1",
                job_id,
                float(seconds),
            )

    async def oldest() -> float:
        return (await read_snapshot(setup.database)).oldest_waiting_seconds

    later = await setup.enqueue()
    await put(later.id, run_at=-3600, due_at=-3600, created_at=500)
    assert await oldest() == 0
    # A run_at in the past: the job waits since it was accepted.
    past = await setup.enqueue()
    await put(past.id, run_at=200_000_000, due_at=200_000_000, created_at=40)
    assert await oldest() == pytest.approx(40, abs=20)
    # Deferred after a refusal: it still waits.
    deferred = await setup.enqueue()
    await put(deferred.id, run_at=90, created_at=90, due_at=-20)
    assert await oldest() == pytest.approx(90, abs=20)
    # A running job does not wait.
    running = await setup.job_in(JobState.GENERATING)
    await put(running.id, run_at=86_400, due_at=86_400, created_at=86_400)
    assert await oldest() == pytest.approx(90, abs=20)
    # A clock that was set back does not make the age negative.
    await setup.sql("UPDATE jobs SET run_at = now(), created_at = now() + interval '1 h'")
    assert await oldest() == 0


async def test_a_job_before_its_run_at_is_scheduled_and_no_backlog(setup: DatabaseSetup) -> None:
    """Counts of the screens, of the alerts and of a pause leave it out, until its time comes."""
    now = datetime.now(UTC)
    waits = await setup.enqueue()
    past = await setup.enqueue(run_at=now - timedelta(days=1))
    monday = await setup.enqueue(run_at=now + timedelta(days=3))
    await setup.enqueue(run_at=now + timedelta(days=300))
    # A refusal that passes puts a job off. It waits all the same.
    await setup.move(waits, job_events.Claimed, job_events.Deferred)
    await setup.sql("UPDATE jobs SET due_at = now() + interval '1 h' WHERE id = $1", waits.id)
    await setup.sql("SELECT id FROM darkroom_pause('everything', NULL, 'why')")

    async def counts() -> tuple[int, int, int, int, int]:
        snapshot = await read_snapshot(setup.database)
        situation = await read_system_state(setup.database)
        return (
            snapshot.queued,
            snapshot.scheduled,
            snapshot.waiting,
            snapshot.paused,
            situation.queued,
        )

    assert await counts() == (4, 2, 2, 2, 2)
    assert [one.is_scheduled(datetime.now(UTC)) for one in (past, waits, monday)] == [
        False,
        False,
        True,
    ]
    await setup.sql("UPDATE jobs SET run_at = now() WHERE id = $1", monday.id)
    assert await counts() == (4, 1, 3, 3, 3)
    await setup.sql("SELECT count(*) FROM jobs, darkroom_cancel_job(jobs.id) AS taken_back")
    assert await counts() == (0, 0, 0, 0, 0)


async def test_a_job_with_a_run_at_in_the_past_waited_from_its_acceptance(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    await setup.sql("ALTER TABLE jobs DISABLE TRIGGER jobs_end_once")
    await setup.sql(
        "UPDATE jobs SET run_at = '2020-01-01', created_at = now() - interval '9 s',"
        " submitted_at = now() - interval '5 s', finished_at = now() WHERE id = $1",
        job.id,
    )
    snapshot = await read_snapshot(setup.database)
    assert (snapshot.wait_p50_seconds, snapshot.wait_p95_seconds) == (4, 4)


async def test_a_gauge_of_what_cannot_be_read_is_not_a_number(setup: DatabaseSetup) -> None:
    class Away:
        queries: Queries = setup.database

        async def fetch(self, query: str, *args: Any) -> list[Any]:
            return await self.queries.fetch(query, *args)

        async def fetch_row(self, query: str, *args: Any) -> Any:
            return await self.queries.fetch_row(query, *args)

    class Down(Away):
        async def fetch_row(self, query: str, *args: Any) -> Any:
            raise PostgresDown(f"away: {query} {args}")

    await setup.job_in(JobState.QUEUED)
    await setup.job_in(JobState.SUCCEEDED)
    await setup.sql("UPDATE jobs SET provider_finished_at = finished_at")
    away, registry = Away(), CollectorRegistry()
    moments = iter((10.0, 10.0, 20.0, 30.0, 30.0))
    gauges = QueueGauges(registry, away, monotonic=lambda: next(moments))

    def shown() -> set[float]:
        return {sample.value for metric in registry.collect() for sample in metric.samples}

    assert all(isnan(value) for value in shown()), "nothing was read yet"
    await gauges.refresh()
    assert shown() >= {0, 1}
    assert not any(isnan(value) for value in shown())
    away.queries = Down()
    with pytest.raises(PostgresDown):
        await gauges.refresh()
    assert all(isnan(value) for value in shown()), "the last value is not what is"
    away.queries = setup.database
    await gauges.refresh()
    assert not any(isnan(value) for value in shown())


async def test_failures_are_listed_newest_first_with_their_reason(setup: DatabaseSetup) -> None:
    first = await setup.job_in(JobState.FAILED)
    await setup.job_in(JobState.SUCCEEDED)
    second = await setup.move(await setup.job_in(JobState.SUBMITTING), job_events.Rejected)
    failures = await read_failures(setup.database)
    assert [one.id for one in failures] == [second.id, first.id]
    newest = failures[0]
    assert (newest.reason, newest.message, newest.account_id) == ("rejected", "no", "acme")
    assert newest.finished_at == second.finished_at
    assert [one.id for one in await read_failures(setup.database, 1)] == [second.id]


async def test_failures_are_listed_by_when_they_failed_not_when_they_were_accepted(
    setup: DatabaseSetup,
) -> None:
    old = await setup.job_in(JobState.GENERATING)
    young = await setup.job_in(JobState.FAILED)
    await setup.move(old, job_events.ProviderFailed)
    assert [one.id for one in await read_failures(setup.database)] == [old.id, young.id]


async def test_gauges_show_the_same_snapshot(setup: DatabaseSetup) -> None:
    for state in (JobState.QUEUED, JobState.QUEUED, JobState.GENERATING, JobState.UNKNOWN):
        await setup.job_in(state)
    registry = CollectorRegistry()
    await QueueGauges(registry, setup.database).refresh()
    shown = {
        (sample.name, sample.labels.get("state")): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }
    assert shown["darkroom_open_jobs", "queued"] == 2
    assert shown["darkroom_open_jobs", "generating"] == 1
    assert shown["darkroom_open_jobs", "submitting"] == 0
    assert shown["darkroom_queue_depth", None] == 2
    assert shown["darkroom_in_flight", None] == 2
    assert shown["darkroom_credits_held", None] == 24
