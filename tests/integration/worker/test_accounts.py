"""Several Kie accounts in the steps: a task is polled only with the account that submitted it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest
import structlog
from arq.worker import Worker, func

from producer import Job
from shared.adapters.redis.deliveries import Lane, connect_redis, deserialize, serialize
from shared.catalog import ImageRequest, ModelFamily
from shared.domain import job_events
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Delivered,
    NoVerdict,
    Pending,
    SubmitOutcome,
    TryLater,
)
from shared.domain.lifecycle import Reason
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.deployment import eventually
from worker.callbacks.callback_handler import CallbackHandler
from worker.kie.account_pool import KieAccount, KieAccountPool
from worker.limits.account_brake import AccountBrake
from worker.queue.delivery_run import DeliveryRun
from worker.queue.step_runner import arq_function_of
from worker.steps.poll import LAST_POLL_LIMIT_SECONDS
from worker.steps.submit import submit_job
from worker.store.job_store import JobStore

URL = "https://img/1.png"


@dataclass(slots=True)
class WorkerWithTwoAccounts:
    """One worker's setup over the accounts `studio` and `archive`."""

    setup: WorkerSetup
    kies: dict[str, FakeKie]

    @classmethod
    def over(cls, setup: WorkerSetup, kies: dict[str, FakeKie]) -> WorkerWithTwoAccounts:
        """Return a worker just started: it remembers nothing."""
        accounts = KieAccountPool(
            [
                KieAccount(name, kie, AccountBrake(setup.deps.scripts, name))
                for name, kie in kies.items()
            ],
            on_missing=setup.deps.metrics.accounts.set_key_missing,
        )
        return cls(setup.with_deps(accounts=accounts, store=JobStore(setup.database)), kies)

    def restarted(self, *names: str) -> WorkerWithTwoAccounts:
        """Return another worker of the same Kie, with the accounts of these names in this order."""
        return WorkerWithTwoAccounts.over(self.setup, {name: self.kies[name] for name in names})

    async def submit(self, job: Job, name: str) -> float | None:
        """Submit the job as if its claim had reserved a slot of this account."""
        return await self.setup.submit(job, DeliveryRun(gate=list(self.kies).index(name)))

    async def submitted(self, name: str, task_id: str) -> Job:
        """Enqueue a job and submit it with this account."""
        job = await self.setup.enqueue()
        self.kies[name].submits.append(Accepted(task_id))
        await self.submit(job, name)
        return job

    async def accounts_of(self, job: Job) -> list[str]:
        """Return with which account each attempt was made."""
        rows = await self.setup.sql(
            "SELECT provider_account FROM job_attempts WHERE job_id = $1 ORDER BY number", job.id
        )
        return [row["provider_account"] for row in rows]


@pytest.fixture
def worker(setup: WorkerSetup) -> WorkerWithTwoAccounts:
    """A worker with two accounts."""
    return WorkerWithTwoAccounts.over(setup, {"studio": FakeKie(), "archive": FakeKie()})


@pytest.fixture
async def unknown(worker: WorkerWithTwoAccounts) -> Job:
    """A job whose worker was lost around its POST with `archive`."""
    job = await worker.setup.enqueue()
    claim = job_events.Claimed("t" * 24, "dead:1", "archive")
    claimed = await worker.setup.deps.store.claim(job, claim)
    lost = job_events.OutcomeUnknown(Reason.WORKER_LOST, "lost")
    await worker.setup.deps.store.record_unknown(claimed, lost)
    return job


# --- submitting -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["studio", "archive"])
async def test_a_submit_is_sent_with_the_account_whose_slot_was_reserved(
    worker: WorkerWithTwoAccounts, name: str
) -> None:
    job = await worker.submitted(name, "t1")
    assert [len(kie.submit_calls) for kie in worker.kies.values()] == [
        int(one == name) for one in worker.kies
    ]
    assert await worker.accounts_of(job) == [name]


async def test_the_account_is_stored_before_the_post(worker: WorkerWithTwoAccounts) -> None:
    stored: list[str] = []

    class Watching(FakeKie):
        async def submit(
            self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
        ) -> SubmitOutcome:
            stored.extend(await worker.accounts_of(job))
            raise asyncio.CancelledError  # the worker dies here

    doomed = WorkerWithTwoAccounts.over(worker.setup, {"studio": FakeKie(), "archive": Watching()})
    job = await worker.setup.enqueue()
    with pytest.raises(asyncio.CancelledError):
        await doomed.submit(job, "archive")
    assert stored == ["archive"]
    assert (await worker.setup.now_is(job)).state == "submitting"


async def test_without_a_reservation_the_accounts_take_turns(worker: WorkerWithTwoAccounts) -> None:
    for kie in worker.kies.values():
        kie.submits += [Accepted(f"{id(kie)}-{number}") for number in range(2)]
    for _ in range(4):
        await worker.setup.submit(await worker.setup.enqueue())
    assert [len(kie.submit_calls) for kie in worker.kies.values()] == [2, 2]


async def test_without_a_reservation_a_paused_account_is_passed_over(
    worker: WorkerWithTwoAccounts,
) -> None:
    studio, archive = worker.kies.values()
    studio.submits.append(AccountBlocked("402 credits", 402))
    archive.submits += [Accepted(f"t{number}") for number in range(3)]
    job = await worker.setup.enqueue()
    await worker.setup.submit(job)
    for _ in range(3):
        await worker.setup.submit(await worker.setup.enqueue())
    assert (len(studio.submit_calls), len(archive.submit_calls)) == (1, 3)


# arq's own worker leaves a pipeline unclosed where it is cancelled in the middle of a command.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stock_arq_worker_sends_with_all_accounts(
    worker: WorkerWithTwoAccounts, embedded_redis_url: str
) -> None:
    for name, kie in worker.kies.items():
        kie.submits += [Accepted(f"{name}-{number}") for number in range(3)]
    jobs = [await worker.setup.enqueue() for _ in range(6)]

    async def are_submitted() -> bool:
        states = {(await worker.setup.now_is(job)).state.value for job in jobs}
        return states == {"generating"}

    step = cast("Any", arq_function_of(worker.setup.deps, submit_job))
    async with connect_redis(embedded_redis_url) as redis:
        stock_worker = Worker(
            functions=[func(step, name=Lane.SUBMIT.function)],
            queue_name=Lane.SUBMIT.value,
            redis_pool=redis,
            job_serializer=serialize,
            job_deserializer=deserialize,
            handle_signals=False,
            poll_delay=0.02,
        )
        working = asyncio.create_task(stock_worker.async_run())
        await eventually(are_submitted, "all are generating")
        async with asyncio.timeout(10):
            while not working.done():
                working.cancel()
                await asyncio.wait([working], timeout=0.1)
    assert [len(kie.submit_calls) for kie in worker.kies.values()] == [3, 3]


# --- one account refused ----------------------------------------------------------------------


async def test_a_refused_account_pauses_alone_and_its_job_goes_to_another_at_once(
    worker: WorkerWithTwoAccounts,
) -> None:
    job = await worker.setup.enqueue()
    worker.kies["studio"].submits.append(AccountBlocked("402 credits", 402))
    with structlog.testing.capture_logs() as logs:
        delay_seconds = await worker.submit(job, "studio")
    assert delay_seconds is not None
    assert delay_seconds < 5, "the pause of 15 s is the account's, not the job's"
    assert [one.brake.level for one in worker.setup.deps.accounts] == [1, 0]
    (paused,) = [log for log in logs if log["event"] == "submits_paused"]
    assert (paused["account"], paused["log_level"]) == ("studio", "critical")
    await worker.setup.make_due(job)
    worker.kies["archive"].submits.append(Accepted("t1"))
    worker.setup.clock.advance(delay_seconds)
    await worker.submit(job, "archive")
    assert (await worker.setup.now_is(job)).state == "generating"
    assert await worker.accounts_of(job) == ["studio", "archive"]
    assert [one.brake.level for one in worker.setup.deps.accounts] == [1, 0]


async def test_where_every_account_is_held_back_the_job_waits_for_the_pause(
    worker: WorkerWithTwoAccounts,
) -> None:
    delays = []
    for name in worker.kies:
        job = await worker.setup.enqueue()
        worker.kies[name].submits.append(AccountBlocked("402: no credits", 402))
        delays.append(await worker.submit(job, name) or 0)
    assert delays[0] <= 1
    assert delays[1] >= 15


# --- asking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("studio", "archive"), ("archive", "studio")])
async def test_a_task_is_polled_with_the_key_that_made_it_after_a_restart_too(
    worker: WorkerWithTwoAccounts, order: tuple[str, str]
) -> None:
    jobs = {name: await worker.submitted(name, f"of-{name}") for name in worker.kies}
    for name, job in jobs.items():
        worker.kies[name].polls += [Pending(0.5), Delivered((URL,))]
        await worker.setup.poll(job)
    restarted = worker.restarted(*order)
    for job in jobs.values():
        await restarted.setup.poll(job)
    for name, kie in worker.kies.items():
        assert [call.task_id for call in kie.poll_calls] == [f"of-{name}"] * 2
        assert (await worker.setup.now_is(jobs[name])).state == "succeeded"


async def test_a_second_attempt_of_another_account_is_polled_with_that_ones_key(
    worker: WorkerWithTwoAccounts,
) -> None:
    job = await worker.setup.enqueue()
    first = job_events.Claimed("a" * 24, "w", "studio")
    claimed = await worker.setup.deps.store.claim(job, first)
    await worker.setup.deps.store.record_deferred(
        claimed, job_events.Deferred("rate_limited", "", 0)
    )
    await worker.setup.make_due(job)
    worker.kies["archive"].submits.append(Accepted("t2"))
    await worker.submit(job, "archive")
    worker.kies["archive"].polls.append(Pending(0.5))
    await worker.restarted("studio", "archive").setup.poll(job)
    assert len(worker.kies["archive"].poll_calls) == 1


async def test_a_lost_reply_is_recovered_with_the_key_that_sent_the_post(
    worker: WorkerWithTwoAccounts, unknown: Job
) -> None:
    archive = worker.kies["archive"]
    archive.callback_urls["t1"] = "https://us/callbacks/kie/" + "t" * 24
    archive.polls += [Pending(0.1), Pending(0.2)]
    restarted = worker.restarted("archive", "studio")
    await _call_back(restarted, unknown)
    assert (await worker.setup.now_is(unknown)).state == "generating"
    await restarted.setup.poll(unknown)
    assert [call.task_id for call in archive.poll_calls] == ["t1", "t1"]


# --- a key that is gone -----------------------------------------------------------------------


async def test_without_its_key_a_task_waits_with_one_error_in_the_log_and_continues_with_it(
    worker: WorkerWithTwoAccounts,
) -> None:
    job = await worker.submitted("archive", "t1")
    without = worker.restarted("studio")
    with structlog.testing.capture_logs() as logs:
        delays = [await without.setup.poll(job) for _ in range(2)]
    assert all(delay is not None and delay >= 5 for delay in delays), delays
    loud = [log for log in logs if log["log_level"] == "critical"]
    assert [(log["event"], log["account"]) for log in loud] == [("kie_account_missing", "archive")]
    shown = worker.setup.registry.get_sample_value(
        "darkroom_kie_account_missing", {"account": "archive"}
    )
    assert shown == 1
    assert worker.kies["studio"].poll_calls == []
    worker.kies["archive"].polls.append(Delivered((URL,)))
    assert await worker.restarted("studio", "archive").setup.poll(job) is None
    assert (await worker.setup.now_is(job)).state == "succeeded"


async def test_without_its_key_a_task_ends_only_well_past_its_deadline(
    worker: WorkerWithTwoAccounts,
) -> None:
    job = await worker.submitted("archive", "t1")
    without = worker.restarted("studio")
    await without.setup.let_pass(worker.setup.deps.settings.job_deadline_seconds + 1)
    assert await without.setup.poll(job) is not None
    await without.setup.let_pass(LAST_POLL_LIMIT_SECONDS)
    assert await without.setup.poll(job) is None
    after = await worker.setup.now_is(job)
    assert (after.state, after.reason) == ("failed", "deadline_exceeded")
    assert "no key of the Kie account 'archive' is configured" in (after.message or "")


async def test_without_its_key_a_callback_stays_in_the_inbox_until_the_key_is_back(
    worker: WorkerWithTwoAccounts, unknown: Job
) -> None:
    inbox_id = await _call_back(worker.restarted("studio"), unknown)
    assert (await worker.setup.now_is(unknown)).state == "unknown"
    (row,) = await worker.setup.sql("SELECT handled_at FROM callback_inbox WHERE id = $1", inbox_id)
    assert row["handled_at"] is None


async def test_an_account_without_a_key_answers_nothing_at_all(
    worker: WorkerWithTwoAccounts,
) -> None:
    keyless = worker.setup.deps.accounts.client_of("gone")
    family: Any = None
    assert await keyless.credit() is None
    assert isinstance(await keyless.poll(family, "t1"), NoVerdict)
    kie_outcome = await keyless.submit(family, cast("Any", None), callback_url=None)
    assert isinstance(kie_outcome, TryLater)


async def _call_back(worker: WorkerWithTwoAccounts, job: Job) -> int:
    """Store a callback for the job's attempt and handle it."""
    (row,) = await worker.setup.sql(
        "INSERT INTO callback_inbox (token, provider_task_id)"
        " SELECT token, 't1' FROM job_attempts WHERE job_id = $1 RETURNING id",
        job.id,
    )
    await CallbackHandler(worker.setup.deps, worker.setup.database).handle(row["id"])
    return int(row["id"])
