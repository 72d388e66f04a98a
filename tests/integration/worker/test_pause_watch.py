"""Paused jobs leave the queue without an attempt, and are chosen in their order afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from time import monotonic

import pytest
from arq.constants import in_progress_key_prefix

from producer import Job, Order
from shared.adapters.redis.deliveries import Lane
from shared.domain.kie_outcomes import Accepted
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.worker_setup import WorkerSetup, listen, running_lanes
from tests.support.deployment import eventually, text_to_image
from worker.kie.account_pool import KieAccount, KieAccountPool
from worker.limits.account_brake import AccountBrake
from worker.limits.throttle import Throttle, submit_limit
from worker.recovery.pause_watch import READ_SECONDS, PauseWatch
from worker.recovery.reconciler import EPOCH_KEY, Reconciler


@pytest.fixture
def watch(setup: WorkerSetup) -> PauseWatch:
    return PauseWatch(setup.deps)


async def open_bolt(setup: WorkerSetup) -> None:
    await setup.producer.billing.create_account("bolt")
    await setup.producer.billing.grant("bolt", Decimal(1_000), "for the test")


async def enqueue(setup: WorkerSetup, *accounts: str) -> list[Job]:
    return [await setup.producer.enqueue(text_to_image(), account_id=name) for name in accounts]


async def waiting(setup: WorkerSetup) -> dict[str, float]:
    """Return the deliveries of the submit lane in their order, each with its due time (ms)."""
    pairs = await setup.redis.zrange(Lane.SUBMIT.value, 0, -1, withscores=True)
    return {arq_id.decode(): score for arq_id, score in pairs}


def ids_of(jobs: Sequence[Job]) -> list[str]:
    return [Lane.SUBMIT.arq_id(job.id) for job in jobs]


async def age_all_jobs(setup: WorkerSetup) -> None:
    """Let every job have been untouched for a while."""
    await setup.sql("UPDATE jobs SET updated_at = updated_at - interval '1 minute'")
    await setup.sql("UPDATE chosen_jobs SET chosen_at = chosen_at - interval '1 minute'")


@asynccontextmanager
async def watching(setup: WorkerSetup, database_url: str) -> AsyncIterator[None]:
    """Watch the pauses by notification alone, as the service does."""
    watch = PauseWatch(setup.deps, read_seconds=600)
    tasks = [
        asyncio.create_task(listen(setup.deps, database_url)),
        asyncio.create_task(watch.run_until_cancelled()),
    ]

    async def listens() -> bool:
        return bool(await setup.sql(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND query ILIKE 'LISTEN%darkroom_dispatch%'"
        ))  # fmt: skip

    await eventually(listens, "the worker listens")
    try:
        yield
        assert not any(task.done() for task in tasks), "the watch died"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- out of the queue and back --------------------------------------------------------------


@pytest.mark.parametrize(("scope", "value"), [("account", "acme"), ("model", "gpt-4o-image")])
async def test_paused_jobs_leave_the_queue_and_come_back_due_as_before(
    setup: WorkerSetup, watch: PauseWatch, scope: str, value: str
) -> None:
    await open_bolt(setup)
    first, others = await enqueue(setup, "acme", "acme"), await enqueue(setup, "bolt")
    before = list(await waiting(setup))
    pause = await setup.producer.pauses.pause(scope, value, reason="why")  # type: ignore[arg-type]
    await watch.read()
    assert list(await waiting(setup)) == (ids_of(others) if scope == "account" else [])
    await setup.choose()
    assert list(await waiting(setup)) == (ids_of(others) if scope == "account" else [])
    await setup.producer.pauses.resume(pause.id)
    await watch.read()
    assert setup.deps.jobs_wait.is_set()
    await setup.choose()
    after = list(await waiting(setup))
    assert sorted(after) == sorted(before)
    assert [one for one in after if one in ids_of(first)] == ids_of(first)


async def test_a_job_that_comes_during_a_pause_waits_without_a_delivery_or_an_attempt(
    setup: WorkerSetup, watch: PauseWatch
) -> None:
    await setup.producer.pauses.pause("account", "acme", reason="why")
    await watch.read()
    (job,) = await enqueue(setup, "acme")
    await setup.choose()
    assert await waiting(setup) == {}
    assert (await setup.now_is(job)).attempt == 0
    assert await setup.events(job) == ["enqueued"]


async def test_a_delivery_of_a_paused_job_is_removed_by_its_run_without_an_attempt(
    setup: WorkerSetup,
) -> None:
    (job,) = await enqueue(setup, "acme")
    await setup.producer.pauses.pause("account", "acme", reason="why")
    async with running_lanes(setup.deps):

        async def is_gone() -> bool:
            return not await waiting(setup)

        await eventually(is_gone, "the delivery is removed")
    assert (await setup.now_is(job)).attempt == 0
    assert await setup.events(job) == ["enqueued"]
    assert setup.kie.submit_calls == []


async def test_a_run_under_way_keeps_its_delivery(setup: WorkerSetup, watch: PauseWatch) -> None:
    runs, rests = await enqueue(setup, "acme", "acme")
    await setup.redis.set(in_progress_key_prefix + Lane.SUBMIT.arq_id(runs.id), "some worker")
    await setup.producer.pauses.pause("account", "acme", reason="why")
    await watch.read()
    assert list(await waiting(setup)) == ids_of([runs])
    assert rests.state == "queued"


async def test_a_run_that_removes_its_delivery_after_the_end_of_the_pause_loses_no_job(
    setup: WorkerSetup, watch: PauseWatch
) -> None:
    (job,) = await enqueue(setup, "acme")
    pause = await setup.producer.pauses.pause("account", "acme", reason="why")
    assert await setup.submit(job) is None
    await setup.producer.pauses.resume(pause.id)
    await watch.read()  # the run has not ended yet
    await setup.redis.zrem(Lane.SUBMIT.value, *ids_of([job]))
    await Reconciler(setup.deps).deliver_recent(0)
    assert list(await waiting(setup)) == ids_of([job])


async def test_two_workers_choose_the_jobs_of_an_ended_pause_once(setup: WorkerSetup) -> None:
    workers = [PauseWatch(setup.deps) for _ in range(2)]
    await enqueue(setup, *["acme"] * 12)
    pause = await setup.producer.pauses.pause("account", "acme", reason="why")
    await asyncio.gather(*(one.read() for one in workers))
    assert await waiting(setup) == {}
    await setup.producer.pauses.resume(pause.id)
    await asyncio.gather(*(setup.choose() for _ in workers))
    await setup.choose()
    assert len(await waiting(setup)) == 12
    assert setup.registry.get_sample_value("darkroom_chosen_total") == 12


async def test_a_worker_that_died_before_it_took_jobs_back_is_made_up_for_by_another(
    setup: WorkerSetup,
) -> None:
    jobs = await enqueue(setup, "acme", "acme")
    pause = await setup.producer.pauses.pause("account", "acme", reason="why")
    # One that was started since.
    await PauseWatch(setup.deps).read()
    assert await waiting(setup) == {}
    await setup.producer.pauses.resume(pause.id)
    await setup.choose()
    assert list(await waiting(setup)) == ids_of(jobs)


async def test_jobs_of_a_paused_account_do_not_hold_up_those_of_others(
    setup: WorkerSetup, watch: PauseWatch
) -> None:
    await open_bolt(setup)
    await setup.producer.billing.grant("acme", Decimal(1_000), "for the test")
    await setup.producer.pauses.pause("account", "acme", reason="why")
    await watch.read()
    await setup.producer.enqueue_many([Order(request=text_to_image(), account_id="acme")] * 150)
    (other,) = await enqueue(setup, "bolt")
    setup.kie.submits.append(Accepted("t1"))
    throttle = Throttle(setup.deps.scripts, submit_limit(20, 30))
    began = monotonic()
    async with running_lanes(setup.with_deps(submit_throttle=throttle).deps):

        async def is_submitted() -> bool:
            return len(setup.kie.submit_calls) == 1

        await eventually(is_submitted, "the other account's job is submitted")
    assert monotonic() - began < 3, "each 20 paused deliveries took half a second"
    assert (await setup.now_is(other)).attempt == 1


# --- the end of a pause ---------------------------------------------------------------------


async def test_a_resume_has_jobs_chosen_within_a_second_by_its_notification(
    setup: WorkerSetup, database_url: str
) -> None:
    jobs = await enqueue(setup, "acme", "acme", "acme")
    async with watching(setup, database_url):
        pause = await setup.producer.pauses.pause("account", "acme", reason="why")

        async def are(expected: list[str]) -> bool:
            return list(await waiting(setup)) == expected

        await eventually(lambda: are([]), "the deliveries are removed")
        resumed_at = monotonic()
        await setup.producer.pauses.resume(pause.id)
        await setup.deps.jobs_wait.wait()
        await setup.choose()
        await eventually(lambda: are(ids_of(jobs)), "the deliveries are back")
        assert monotonic() - resumed_at < 1


async def test_a_pause_ends_by_itself_at_until(setup: WorkerSetup, watch: PauseWatch) -> None:
    jobs = await enqueue(setup, "acme")
    await setup.producer.pauses.pause("account", "acme", reason="short", for_seconds=1)
    assert await watch.read() < 1.1
    assert await waiting(setup) == {}

    async def is_back() -> bool:
        await watch.read()
        await setup.choose()
        return list(await waiting(setup)) == ids_of(jobs)

    await eventually(is_back, "the delivery is back")


async def test_without_a_pause_the_next_read_is_when_something_changes(
    setup: WorkerSetup, watch: PauseWatch
) -> None:
    assert await watch.read() == READ_SECONDS
    doubtful = PauseWatch(setup.with_deps(may_claim=lambda: False).deps)
    assert await doubtful.read() <= 5, "what it could not act on is read again soon"


# --- a wiped Redis --------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["everything", "account"])
async def test_a_wiped_redis_forgets_no_pause(
    setup: WorkerSetup, watch: PauseWatch, scope: str
) -> None:
    await open_bolt(setup)
    jobs = await enqueue(setup, "acme", "bolt")
    value = "acme" if scope == "account" else None
    pause = await setup.producer.pauses.pause(scope, value, reason="why")  # type: ignore[arg-type]
    await watch.read()
    await age_all_jobs(setup)
    await setup.redis.flushall()
    reconciler = Reconciler(setup.deps)
    for _ in range(2):
        await reconciler.run_once()
        await setup.choose()
    assert list(await waiting(setup)) == ids_of(jobs[1:] if scope == "account" else jobs)
    assert await setup.submit(jobs[0]) is None
    assert (await setup.now_is(jobs[0])).attempt == 0
    await setup.producer.pauses.resume(pause.id)
    await watch.read()
    await setup.choose()
    assert sorted(await waiting(setup)) == sorted(ids_of(jobs))
    assert await setup.redis.exists(EPOCH_KEY)


# --- everything, and Kie accounts -----------------------------------------------------------


async def test_while_everything_is_paused_no_claim_is_sent_and_each_delivery_keeps_its_place(
    setup: WorkerSetup, watch: PauseWatch
) -> None:
    jobs = await enqueue(setup, *["acme"] * 5)
    before = await waiting(setup)
    pause = await setup.producer.pauses.pause("everything", reason="why")
    await watch.read()
    gates = setup.deps.accounts.gates(setup.deps.submit_throttle.limit)
    assert [gate.is_paused() for gate in gates] == [True]
    async with running_lanes(setup.deps):
        await asyncio.sleep(0)
        for _ in range(20):
            assert await waiting(setup) == before
        setup.kie.submits.extend(Accepted(f"t{number}") for number in range(5))
        await setup.producer.pauses.resume(pause.id)
        await watch.read()

        async def all_submitted() -> bool:
            return len(setup.kie.submit_calls) == 5

        await eventually(all_submitted, "all are submitted")
    assert len({job.id for job in jobs}) == 5


async def test_the_other_kie_accounts_take_the_share_of_a_paused_one(setup: WorkerSetup) -> None:
    kies = {"default": FakeKie(), "studio": FakeKie()}
    kies["studio"].submits.extend(Accepted(f"t{number}") for number in range(6))
    pool = KieAccountPool(
        [
            KieAccount(name, kie, AccountBrake(setup.deps.scripts, name))
            for name, kie in kies.items()
        ]
    )
    setup = setup.with_deps(accounts=pool)
    await setup.producer.pauses.pause("kie_account", "default", reason="retired")
    await PauseWatch(setup.deps).read()
    await enqueue(setup, *["acme"] * 6)
    async with running_lanes(setup.deps):

        async def all_submitted() -> bool:
            return len(kies["studio"].submit_calls) == 6

        await eventually(all_submitted, "studio has submitted all")
    assert kies["default"].submit_calls == []


async def test_a_worker_that_has_not_read_the_pause_of_a_kie_account_reads_it_at_its_next_claim(
    setup: WorkerSetup,
) -> None:
    (job,) = await enqueue(setup, "acme")
    await setup.producer.pauses.pause("kie_account", "default", reason="retired")
    assert await setup.submit(job) == pytest.approx(0.1)
    assert setup.deps.pauses.read_requested.is_set()
    assert (await setup.now_is(job)).attempt == 0


async def test_a_paused_kie_account_does_not_count_as_open(setup: WorkerSetup) -> None:
    accounts = [
        KieAccount(name, FakeKie(), AccountBrake(setup.deps.scripts, name))
        for name in ("default", "studio")
    ]
    pool = KieAccountPool(accounts)
    assert pool.has_other_open_account(accounts[0], "gpt-4o-image")
    pool.pauses.replace(is_everything_paused=False, kie_accounts=["studio"])
    assert not pool.has_other_open_account(accounts[0], "gpt-4o-image")
    assert {pool.account_for_submit(None).name for _ in range(4)} == {"default"}
