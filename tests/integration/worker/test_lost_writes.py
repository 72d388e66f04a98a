"""Writes that Postgres has lost are detected, recorded in Redis, and reported by the doctor."""

from __future__ import annotations

from uuid import UUID

from structlog.testing import capture_logs

from producer.doctor.lost_write_findings import describe_lost_writes
from shared.adapters.redis.deliveries import Lane
from shared.adapters.redis.lost_write_log import LostWriteLog
from shared.adapters.servers import Servers
from shared.catalog import ImageRequest, ModelFamily
from shared.domain.job import Job
from shared.domain.kie_outcomes import Accepted, Delivered, Pending, SubmitOutcome
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.bare_lanes import deliver
from tests.integration.worker.worker_setup import WorkerSetup
from worker.queue.step_runner import arq_function_of
from worker.recovery.lost_write_detection import check_event_mark
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job


async def _lose(setup: WorkerSetup, job: Job) -> None:
    """Delete all that Postgres knows of the job, as a standby that never received it."""
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = 'replica'")
        for table in ("ledger_entries", "job_events", "job_attempts"):
            await connection.execute(f"DELETE FROM {table} WHERE job_id = $1", job.id)
        await connection.execute("DELETE FROM jobs WHERE id = $1", job.id)


async def test_a_delivered_job_that_is_gone_is_reported_before_any_worker_has_met_it(
    setup: WorkerSetup, servers: Servers
) -> None:
    assert await describe_lost_writes(setup.database, servers.redis_url) is None
    job = await setup.enqueue()
    assert await describe_lost_writes(setup.database, servers.redis_url) is None
    await _lose(setup, job)
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told == f"1 accepted job is not in Postgres: {job.id}"


async def test_a_job_that_is_gone_when_a_worker_submits_it_is_kept(
    setup: WorkerSetup, servers: Servers
) -> None:
    job = await setup.enqueue()
    await _lose(setup, job)
    with capture_logs() as lines:
        await arq_function_of(setup.deps, submit_job)({}, str(job.id))
    assert [one["log_level"] for one in lines if one["event"] == "job_lost"] == ["error"]
    await setup.redis.delete(Lane.SUBMIT.value)
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told == f"1 accepted job is not in Postgres: {job.id}"


async def test_a_task_whose_job_is_gone_is_kept_with_its_id(
    setup: WorkerSetup, servers: Servers
) -> None:
    job = await _generating(setup)
    await _lose(setup, job)
    setup.kie.polls.append(Delivered(("https://x/1.png",)))
    await arq_function_of(setup.deps, poll_job)({}, str(job.id))
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told is not None
    assert str(job.id) in told
    assert "1 task at Kie has no job: t1 (default)" in told


async def test_a_job_that_went_back_to_the_time_before_its_task_is_kept(
    setup: WorkerSetup, servers: Servers
) -> None:
    job = await _generating(setup)
    await setup.sql(
        "UPDATE jobs SET state = 'queued', attempt = 0, provider_task_id = NULL,"
        " submitted_at = NULL, deadline_at = NULL, attempted_at = NULL WHERE id = $1",
        job.id,
    )
    setup.kie.polls.append(Delivered(("https://x/1.png",)))
    await arq_function_of(setup.deps, poll_job)({}, str(job.id))
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told is not None
    assert "1 job is as it was before the task" in told
    assert "t1 (default)" in told


async def test_a_reply_whose_job_was_lost_meanwhile_is_kept(
    setup: WorkerSetup, servers: Servers
) -> None:
    job = await setup.enqueue()

    class LosingKie(FakeKie):
        """Takes the request, and then Postgres loses its job."""

        async def submit(
            self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
        ) -> SubmitOutcome:
            await _lose(setup, job)
            return await super().submit(family, request, callback_url=callback_url)

    await setup.with_kie(LosingKie(submits=[Accepted("t7")])).submit(job)
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told is not None
    assert "t7 (default)" in told


async def test_a_missing_event_reveals_writes_that_no_other_check_found(
    setup: WorkerSetup, servers: Servers
) -> None:
    first = await setup.enqueue()
    await check_event_mark(setup.deps)
    second = await setup.enqueue()
    await check_event_mark(setup.deps)
    await setup.redis.delete(Lane.SUBMIT.value)
    await check_event_mark(setup.deps)
    assert await describe_lost_writes(setup.database, servers.redis_url) is None
    await _lose(setup, second)
    with capture_logs() as lines:
        await check_event_mark(setup.deps)
        await check_event_mark(setup.deps)
    assert [one["event"] for one in lines] == ["writes_lost"]
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told is not None
    assert "is gone" in told
    assert (await setup.now_is(first)).state == "queued"


async def test_a_delivery_that_ended_or_moved_on_is_not_a_loss(setup: WorkerSetup) -> None:
    job = await _generating(setup)
    await check_event_mark(setup.deps)
    setup.kie.polls.append(Delivered(("https://x/1.png",)))
    await arq_function_of(setup.deps, poll_job)({}, str(job.id))
    await arq_function_of(setup.deps, poll_job)({}, str(job.id))
    await check_event_mark(setup.deps)
    assert await LostWriteLog(setup.redis).count() == 0


async def test_a_delivery_without_a_job_in_a_database_without_events_is_reported(
    setup: WorkerSetup, servers: Servers
) -> None:
    (job_id,) = await deliver(setup.redis, 1, lane=Lane.POLL)
    told = await describe_lost_writes(setup.database, servers.redis_url)
    assert told == f"1 accepted job is not in Postgres: {job_id}"
    assert isinstance(job_id, UUID)


async def _generating(setup: WorkerSetup) -> Job:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    setup.kie.polls.append(Pending(0.5))
    await setup.poll(job)
    return await setup.now_is(job)
