"""An operator resolves unknown submissions: guarded, recorded, without a charge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from arq.connections import ArqRedis

from producer import InvalidRequest, Job, JobNotFound, JobState, Producer
from producer.jobs.job_repository import JobRepository
from producer.jobs.unknown_resolution import SubmissionResolution, resolve_unknown
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.redis.deliveries import DeliveryQueue, Lane
from shared.adapters.servers import Servers
from shared.domain import job_events
from shared.domain.job_events import Event
from shared.errors import DarkroomError, StaleJob
from shared.settings import Settings
from tests.integration.database.database_setup import DatabaseSetup, submitted
from tests.integration.producer.client_setup import (
    is_delivered,
    money,
    open_account,
    producer_without_redis,
)

UNKNOWN = JobState.UNKNOWN
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits."""
    await open_account(producer)
    return DatabaseSetup(database)


async def last_events(setup: DatabaseSetup, job: Job) -> list[tuple[str, dict[str, Any]]]:
    """Return the last two events of the job with their details."""
    rows = await setup.database.fetch("list_events", job.id)
    return [(row["event"], row["detail"]) for row in rows][-2:]


async def outcome_of(setup: DatabaseSetup, job: Job) -> tuple[str | None, str | None]:
    """Return outcome and task of the newest attempt."""
    row = (await setup.database.fetch("list_attempts", job.id))[-1]
    return row["outcome"], row["provider_task_id"]


# --- a task exists ----------------------------------------------------------------------------


async def test_a_named_task_makes_the_job_generate_and_keeps_the_hold(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN, attempt=2)
    resolved = await producer.resolve_submitted(str(job.id), "task-9", "seen in Kie's log")
    assert (resolved.state, resolved.provider_task_id) == (JobState.GENERATING, "task-9")
    assert (resolved.reason, resolved.message, resolved.attempt) == (None, None, 2)
    assert resolved.submitted_at is not None
    assert resolved.deadline_at is not None
    assert (resolved.deadline_at - resolved.submitted_at).total_seconds() == 1_800
    assert await outcome_of(setup, job) == ("accepted", "task-9")
    assert await money(producer) == (1_000, 6)
    assert await setup.broken_invariants() == {}


async def test_its_poll_is_delivered_and_may_then_settle_it(
    producer: Producer, setup: DatabaseSetup, redis: ArqRedis
) -> None:
    job = await setup.job_in(UNKNOWN)
    resolved = await producer.resolve_submitted(job.id, "task-9")
    assert await is_delivered(DeliveryQueue(redis), job, Lane.POLL)
    assert not await is_delivered(DeliveryQueue(redis), job, Lane.SUBMIT)
    settled = await setup.settle(resolved)
    assert (settled.state, settled.credits_charged) == (JobState.SUCCEEDED, 6)
    assert await money(producer) == (994, 0)
    assert await setup.broken_invariants() == {}


async def test_who_and_why_stand_in_the_timeline_beside_the_event(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    await producer.resolve_submitted(job.id, "task-9", "seen in the log", actor="maria")
    assert await last_events(setup, job) == [
        ("submitted", {"provider_task_id": "task-9", "attempt": 1}),
        (
            "resolved_by_operator",
            {
                "verdict": "submitted",
                "by": "maria",
                "reason": "seen in the log",
                "provider_task_id": "task-9",
                "attempt": 1,
            },
        ),
    ]


async def test_without_a_name_the_session_user_is_who(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    await producer.resolve_submitted(job.id, "task-9")
    _, (_, detail) = await last_events(setup, job)
    assert detail["by"] == await setup.value("SELECT session_user")
    assert detail["reason"] is None


async def test_the_deadline_is_that_of_the_settings(
    servers: Servers, setup: DatabaseSetup, tmp_path: Path
) -> None:
    settings = Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        darkroom_home=tmp_path,
        job_deadline_seconds=60,
    )
    job, other = await setup.job_in(UNKNOWN), await setup.job_in(UNKNOWN)
    async with Producer.connect(settings) as producer:
        first = await producer.resolve_submitted(job.id, "task-1")
        second = await producer.resolve_submitted(other.id, "task-2", deadline_seconds=5)
    for resolved, seconds in ((first, 60), (second, 5)):
        assert resolved.deadline_at is not None
        assert resolved.submitted_at is not None
        assert (resolved.deadline_at - resolved.submitted_at).total_seconds() == seconds


# --- no task exists ---------------------------------------------------------------------------


async def test_a_lost_submission_fails_and_releases_its_hold(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    resolved = await producer.resolve_lost(job.id, "not in Kie's log", actor="maria")
    assert (resolved.state, resolved.reason) == (JobState.FAILED, "submission_lost")
    assert resolved.message is not None
    assert "log" not in resolved.message  # the caller reads it; the operator's words are ours
    assert await outcome_of(setup, job) == ("lost", None)
    assert await money(producer) == (1_000, 0)
    (_, first), (name, detail) = await last_events(setup, job)
    assert first["reason"] == "submission_lost"
    assert name == "resolved_by_operator"
    assert (detail["verdict"], detail["by"]) == ("lost", "maria")
    assert (detail["reason"], detail["provider_task_id"]) == ("not in Kie's log", None)
    assert await setup.broken_invariants() == {}


async def test_waiters_get_the_error_of_a_lost_connection(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    waiting = asyncio.create_task(producer.wait(job.id, timeout_seconds=20))
    await producer.resolve_lost(job.id, "not in Kie's log")
    assert (await waiting).state is JobState.FAILED


async def test_a_reply_after_the_decision_moves_nothing_and_is_kept(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    await producer.resolve_lost(job.id, "not in Kie's log")
    late = submitted()
    with pytest.raises(StaleJob):
        await setup.store.record_submitted(job, late)
    assert await outcome_of(setup, job) == ("lost", late.provider_task_id)
    assert (await producer.get(job.id)).state is JobState.FAILED
    assert await setup.broken_invariants() == {}


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(JobState) - {UNKNOWN}))
async def test_only_an_unknown_job_is_resolved(
    producer: Producer, setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state)
    before = await setup.snapshot()
    for resolution in (
        producer.resolve_submitted(job.id, "task-9"),
        producer.resolve_lost(job.id, "gone"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await resolution
        (fault,) = caught.value.faults
        assert fault.field == "id"
        assert fault.message == (
            f"job {job.id} is {state}: only an unknown submission can be resolved"
        )
    assert await setup.snapshot() == before


async def test_a_job_that_does_not_exist_is_not_found(producer: Producer) -> None:
    for job_id in (NOBODY, "nonsense"):
        with pytest.raises(JobNotFound):
            await producer.resolve_submitted(job_id, "task-9")
        with pytest.raises(JobNotFound):
            await producer.resolve_lost(job_id, "gone")


async def test_a_task_that_another_job_has_is_refused(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    holders = [await setup.job_in(state) for state in (JobState.GENERATING, JobState.SUCCEEDED)]
    stray = await setup.job_in(UNKNOWN)
    await producer.resolve_lost(stray.id, "gone")
    late = submitted()
    with pytest.raises(StaleJob):
        await setup.store.record_submitted(stray, late)
    taken = [(holder, holder.provider_task_id or "") for holder in holders]
    before = await setup.snapshot()
    for holder, task_id in [*taken, (stray, late.provider_task_id)]:
        with pytest.raises(InvalidRequest) as caught:
            await producer.resolve_submitted(job.id, task_id)
        assert str(caught.value) == (
            f"task_id: task '{task_id}' belongs to job {holder.id} already: one task is one job's"
        )
    assert await setup.snapshot() == before


async def test_nonsense_is_refused_before_anything_is_stored(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(UNKNOWN)
    before = await setup.snapshot()
    for task_id in ("", " ", "a b", "a\x00b", "\ud800", "x" * 201):
        with pytest.raises(InvalidRequest, match="task_id: "):
            await producer.resolve_submitted(job.id, task_id)
    for reason in ("", "  ", "a\x00b", "\ud800", "x" * 501):
        with pytest.raises(InvalidRequest, match="reason: "):
            await producer.resolve_lost(job.id, reason)
        with pytest.raises(InvalidRequest, match="reason: "):
            await producer.resolve_submitted(job.id, "task-9", reason)
    with pytest.raises(InvalidRequest, match="actor: "):
        await producer.resolve_lost(job.id, "gone", actor="")
    with pytest.raises(InvalidRequest, match="needs a reason"):
        SubmissionResolution(None, None)
    assert await setup.snapshot() == before


# --- races ------------------------------------------------------------------------------------


async def test_of_concurrent_resolutions_one_wins_and_is_the_only_one_recorded(
    producer: Producer, setup: DatabaseSetup
) -> None:
    for _ in range(5):
        job = await setup.job_in(UNKNOWN)
        results = await asyncio.gather(
            producer.resolve_submitted(job.id, f"task-{job.id}"),
            producer.resolve_lost(job.id, "gone"),
            producer.resolve_lost(job.id, "gone, too"),
            setup.store.record_submitted(job, submitted()),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Job) for one in results) == 1
        assert all(isinstance(one, Job | DarkroomError) for one in results), results
        verdicts = await setup.sql(
            "SELECT FROM job_events WHERE job_id = $1 AND event = 'resolved_by_operator'", job.id
        )
        assert len(verdicts) == sum(isinstance(one, Job) for one in results[:3])
    assert await setup.broken_invariants() == {}


async def test_two_jobs_cannot_be_given_one_task_at_once(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = [await setup.job_in(UNKNOWN) for _ in range(4)]
    results = await asyncio.gather(
        *(producer.resolve_submitted(job.id, "task-9") for job in jobs), return_exceptions=True
    )
    assert sum(isinstance(one, Job) for one in results) == 1
    refusals = [one for one in results if not isinstance(one, Job)]
    assert all("belongs to job" in str(one) for one in refusals), refusals
    assert await setup.broken_invariants() == {}


class Overtaking(Database):
    """A database whose jobs are moved by another process between the read and the resolution."""

    def __init__(self, setup: DatabaseSetup, job: Job, *happened: type[Event]) -> None:
        super().__init__(setup.database.pool)
        self._setup, self._job, self._happened = setup, job, happened

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Make the events happen after the first read."""
        row = await super().fetch_row(query, *args)
        happened, self._happened = self._happened, ()
        if happened:
            await self._setup.move(self._job, *happened)
        return row


@pytest.mark.parametrize(
    "resolution",
    [SubmissionResolution("task-9", None), SubmissionResolution(None, "gone")],
    ids=str,
)
async def test_a_resolution_applies_to_the_attempt_that_was_shown(
    setup: DatabaseSetup, resolution: SubmissionResolution
) -> None:
    job = await setup.job_in(UNKNOWN)
    next_attempt = (job_events.Deferred, job_events.Claimed, job_events.OutcomeUnknown)
    with pytest.raises(InvalidRequest, match="has begun attempt 2 meanwhile"):
        await resolve_unknown(
            Overtaking(setup, job, *next_attempt), job.id, resolution, deadline_seconds=60
        )
    assert (await setup.store.load(job.id)).state is UNKNOWN
    with pytest.raises(InvalidRequest, match="is generating: only an unknown"):
        await resolve_unknown(
            Overtaking(setup, job, job_events.Submitted), job.id, resolution, deadline_seconds=60
        )
    assert await setup.broken_invariants() == {}


# --- roles and outages ------------------------------------------------------------------------


async def test_the_service_role_may_resolve(setup: DatabaseSetup, database_url: str) -> None:
    job, other = await setup.job_in(UNKNOWN), await setup.job_in(UNKNOWN)
    separator = "&" if "?" in database_url else "?"
    async with connect_database(f"{database_url}{separator}role=darkroom_service") as service:
        await resolve_unknown(
            service, job.id, SubmissionResolution("task-9", None), deadline_seconds=60
        )
        await resolve_unknown(
            service, other.id, SubmissionResolution(None, "gone"), deadline_seconds=60
        )
        assert (await JobRepository(service).get(job.id)).state is JobState.GENERATING
    assert await setup.broken_invariants() == {}


async def test_with_redis_down_the_outcome_is_kept(
    servers: Servers, setup: DatabaseSetup, tmp_path: Path
) -> None:
    job, other = await setup.job_in(UNKNOWN), await setup.job_in(UNKNOWN)
    async with producer_without_redis(servers, tmp_path) as producer:
        assert (await producer.resolve_submitted(job.id, "t")).state is JobState.GENERATING
        assert (await producer.resolve_lost(other.id, "gone")).state is JobState.FAILED
    assert await setup.broken_invariants() == {}
