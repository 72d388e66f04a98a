"""A paid task id survives the worker that could not store it, during any other outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import structlog

from producer import Job
from shared.adapters.redis.deliveries import Lane
from shared.domain import job_events
from shared.domain.kie_outcomes import Accepted
from shared.errors import PostgresDown, RedisDown
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.deployment import eventually
from worker.recovery.reconciler import Reconciler
from worker.recovery.task_id_backup import BACKUP_FOLDER, BACKUP_KEY, PaidTask, TaskIdBackup
from worker.store.job_store import JobStore


class RefusingStore(JobStore):
    """A store that cannot store a task id before an event."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup.database)
        self.refuses = True
        self.stores_though_it_fails = False
        self.hangs: asyncio.Event | None = None

    async def record_submitted(self, job: Job, event: job_events.Submitted) -> Job:
        """Refuse, or hang first."""
        if self.hangs is not None:
            await self.hangs.wait()
        if not self.refuses:
            return await super().record_submitted(job, event)
        if self.stores_though_it_fails:
            await super().record_submitted(job, event)
        raise PostgresDown(
            "Postgres cannot do this now: read-only (SQLSTATE 25006)", sqlstate="25006"
        )


@pytest.fixture
def folder(setup: WorkerSetup) -> Path:
    """The folder of the files."""
    return setup.deps.settings.darkroom_home / BACKUP_FOLDER


@asynccontextmanager
async def retrying_worker(
    setup: WorkerSetup, store: RefusingStore, **changes: Any
) -> AsyncIterator[tuple[Job, asyncio.Task[float | None]]]:
    """Yield a job whose task id a worker holds and cannot store; then that worker dies."""
    tries = asyncio.Semaphore(0)

    async def sleep(_: float) -> None:
        tries.release()
        await asyncio.sleep(0.01)

    setup = setup.with_deps(store=store, sleep=sleep, **changes)
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    submit = asyncio.create_task(setup.submit(job))
    if store.hangs is None:
        await asyncio.wait_for(tries.acquire(), 10)
    try:
        yield job, submit
    finally:
        submit.cancel()
        await asyncio.wait([submit])


async def in_redis(setup: WorkerSetup) -> dict[str, Any]:
    """Return the evidence in Redis."""
    found = await setup.redis.hgetall(BACKUP_KEY)  # type: ignore[misc]
    return {name.decode(): orjson.loads(text) for name, text in found.items()}


async def test_at_the_first_failure_it_is_kept_in_redis_and_in_a_file(
    setup: WorkerSetup, folder: Path
) -> None:
    async with retrying_worker(setup, RefusingStore(setup)) as (job, _):
        (name,) = await in_redis(setup)
        assert name == f"{job.id}.1"
        value = (await in_redis(setup))[name]
        assert (value["task_id"], value["account"]) == ("t1", "default")
        assert orjson.loads((folder / f"{name}.json").read_bytes()) == value
        assert [path.name for path in folder.iterdir()] == [f"{name}.json"]


async def test_a_postgres_that_does_not_answer_is_not_waited_for(setup: WorkerSetup) -> None:
    evidence = TaskIdBackup(
        setup.redis, setup.deps.settings.darkroom_home, back_up_after_seconds=0.05
    )
    store = RefusingStore(setup)
    store.hangs, store.refuses = asyncio.Event(), False
    async with retrying_worker(setup, store, task_id_backup=evidence) as (job, submit):

        async def is_kept() -> bool:
            return bool(await in_redis(setup))

        await eventually(is_kept, "the evidence is kept")
        assert not submit.done()
        store.hangs.set()
        await submit
        assert (await setup.now_is(job)).provider_task_id == "t1"
        assert await in_redis(setup) == {}


async def test_once_it_is_stored_nothing_is_kept(setup: WorkerSetup, folder: Path) -> None:
    store = RefusingStore(setup)
    async with retrying_worker(setup, store) as (job, submit):
        store.refuses = False
        await asyncio.wait_for(submit, 10)
        assert (await setup.now_is(job)).provider_task_id == "t1"
    assert await in_redis(setup) == {}
    assert list(folder.iterdir()) == []


async def test_on_the_good_path_nothing_is_written_at_all(setup: WorkerSetup, folder: Path) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    assert (await setup.now_is(job)).provider_task_id == "t1"
    assert not folder.exists()
    assert not await setup.redis.exists(BACKUP_KEY)


async def lose_nothing(_: WorkerSetup, __: Path) -> None:
    """Both places are there."""


async def lose_redis(setup: WorkerSetup, _: Path) -> None:
    """Redis came back empty."""
    await setup.redis.flushall()


async def lose_files(_: WorkerSetup, folder: Path) -> None:
    """The machine is gone."""
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("lose", [lose_nothing, lose_redis, lose_files])
@pytest.mark.parametrize("state", ["submitting", "unknown"])
async def test_a_dead_workers_task_id_is_stored_before_its_job_is_given_up(
    setup: WorkerSetup,
    folder: Path,
    lose: Callable[[WorkerSetup, Path], Awaitable[None]],
    state: str,
) -> None:
    async with retrying_worker(setup, RefusingStore(setup)) as (job, _):
        pass
    await lose(setup, folder)
    if state == "unknown":
        await _declare_unknown_long_ago(setup, job)
    with structlog.testing.capture_logs() as logs:
        await Reconciler(setup.deps).run_once()
    after = await setup.now_is(job)
    assert (after.state, after.provider_task_id) == ("generating", "t1")
    assert await setup.attempts(job) == [("accepted", "t1")]
    due_in_seconds = await setup.delivery_due_in_seconds(job.id, Lane.POLL)
    assert due_in_seconds is not None
    assert due_in_seconds < 1
    recovered = [one for one in logs if one["event"] == "submission_recovered"]
    assert [one["provider_task_id"] for one in recovered] == ["t1"]
    assert await in_redis(setup) == {}
    assert list(folder.iterdir()) == []


async def test_while_redis_cannot_be_read_no_unknown_job_is_given_up(setup: WorkerSetup) -> None:
    class AwayRedis(TaskIdBackup):
        async def read_all(self) -> list[PaidTask]:
            raise RedisDown("Redis does not answer: a drill")

    job = await setup.enqueue()
    await setup.deps.store.claim(job, job_events.Claimed("a" * 24, "w", "default"))
    await _declare_unknown_long_ago(setup, job)
    away = AwayRedis(setup.redis, setup.deps.settings.darkroom_home)
    with pytest.raises(RedisDown):
        await Reconciler(setup.with_deps(task_id_backup=away).deps).run_once()
    assert (await setup.now_is(job)).state == "unknown"
    await Reconciler(setup.deps).run_once()
    assert (await setup.now_is(job)).state == "failed"


async def test_a_worker_that_dies_between_the_write_and_the_delete_does_no_harm(
    setup: WorkerSetup, folder: Path
) -> None:
    store = RefusingStore(setup)
    async with retrying_worker(setup, store) as (job, submit):
        submit.cancel()
        await asyncio.wait([submit])
        store.refuses = False
        await store.record_submitted(
            await setup.deps.store.load(job.id), job_events.Submitted("t1", 60)
        )
    before = await setup.events(job)
    with structlog.testing.capture_logs() as logs:
        await Reconciler(setup.deps).run_once()
    assert await setup.events(job) == before
    assert "task_without_job" not in {one["event"] for one in logs}
    assert await in_redis(setup) == {}
    assert list(folder.iterdir()) == []


async def test_two_workers_may_store_it_at_once(setup: WorkerSetup) -> None:
    async with retrying_worker(setup, RefusingStore(setup)) as (job, _):
        pass
    await asyncio.gather(*(Reconciler(setup.deps).task_id_recovery.run_once() for _ in range(4)))
    assert (await setup.events(job)).count("submitted") == 1
    assert (await setup.now_is(job)).provider_task_id == "t1"


async def test_the_worker_that_still_retries_finds_what_another_has_stored(
    setup: WorkerSetup,
) -> None:
    store = RefusingStore(setup)
    async with retrying_worker(setup, store) as (job, submit):
        await Reconciler(setup.deps).task_id_recovery.run_once()
        store.refuses = False
        with structlog.testing.capture_logs() as logs:
            assert await asyncio.wait_for(submit, 10) is None
    assert (await setup.events(job)).count("submitted") == 1
    assert "task_without_job" not in {one["event"] for one in logs}


async def test_evidence_for_a_job_that_has_ended_stays_on_its_attempt(setup: WorkerSetup) -> None:
    async with retrying_worker(setup, RefusingStore(setup)) as (job, _):
        pass
    await _declare_unknown_long_ago(setup, job)
    await setup.deps.store.lose_submission(job.id, 1, job_events.SubmissionLost("too late"))
    with structlog.testing.capture_logs() as logs:
        await Reconciler(setup.deps).run_once()
    assert await setup.attempts(job) == [("lost", "t1")]
    said = [one for one in logs if one["event"] == "task_without_job"]
    assert [(one["log_level"], one["provider_task_id"]) for one in said] == [("error", "t1")]
    assert await in_redis(setup) == {}


async def test_unusable_evidence_stays_and_is_reported_once(
    setup: WorkerSetup, folder: Path
) -> None:
    async with retrying_worker(setup, RefusingStore(setup)) as (job, _):
        pass
    folder.joinpath("torn.json").write_bytes(b'{"job_id": "')
    await setup.redis.hset(BACKUP_KEY, "strange", "42")  # type: ignore[misc]
    stranger = PaidTask(uuid4(), 1, "t7", "default", "now")
    await setup.deps.task_id_backup.save(stranger)
    reconciler = Reconciler(setup.deps)
    with structlog.testing.capture_logs() as logs:
        await reconciler.run_once()
        await reconciler.run_once()
    assert (await setup.now_is(job)).provider_task_id == "t1"
    told = sorted(one["event"] for one in logs if one["log_level"] == "error")
    assert told == ["evidence_not_readable", "evidence_not_readable", "evidence_without_job"]
    assert set(await in_redis(setup)) == {"strange", stranger.name}


@pytest.mark.parametrize("away", ["redis", "file"])
async def test_one_place_is_enough(setup: WorkerSetup, tmp_path: Path, away: str) -> None:
    home = tmp_path / "home"
    if away == "file":
        home.write_text("a file where the folder should be")
    else:
        await setup.redis.set(BACKUP_KEY, "no hash")
    evidence = TaskIdBackup(setup.redis, home)
    kept = await evidence.save(PaidTask(uuid4(), 1, "t1", "default", "now"))
    assert kept == {"file", "redis"} - {away}


async def _declare_unknown_long_ago(setup: WorkerSetup, job: Job) -> None:
    claimed = await setup.deps.store.load(job.id)
    await setup.deps.store.record_unknown(
        claimed, job_events.OutcomeUnknown("worker_lost", "for the test")
    )
    await setup.sql("UPDATE jobs SET attempted_at = now() - interval '1 day' WHERE id = $1", job.id)
