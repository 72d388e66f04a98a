"""Several Kie accounts through the steps: sent with one, and asked about with that one alone."""

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
from tests.integration.worker.worker_setup import Rooms
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
class House:
    """One worker's rooms over the accounts `studio` and `archive`."""

    rooms: Rooms
    kies: dict[str, FakeKie]

    @classmethod
    def over(cls, rooms: Rooms, kies: dict[str, FakeKie]) -> House:
        """Return a worker just started: it remembers nothing."""
        accounts = KieAccountPool(
            [
                KieAccount(name, kie, AccountBrake(rooms.deps.scripts, name))
                for name, kie in kies.items()
            ],
            on_missing=rooms.deps.metrics.accounts.set_key_missing,
        )
        return cls(rooms.with_deps(accounts=accounts, store=JobStore(rooms.database)), kies)

    def restarted(self, *names: str) -> House:
        """Return another worker of the same Kie, with the accounts of these names in this order."""
        return House.over(self.rooms, {name: self.kies[name] for name in names})

    async def submit(self, job: Job, name: str) -> float | None:
        """Submit the job as if its claim had reserved a slot of this account."""
        return await self.rooms.submit(job, DeliveryRun(gate=list(self.kies).index(name)))

    async def submitted(self, name: str, task_id: str) -> Job:
        """Enqueue a job and submit it with this account."""
        job = await self.rooms.enqueue()
        self.kies[name].submits.append(Accepted(task_id))
        await self.submit(job, name)
        return job

    async def accounts_of(self, job: Job) -> list[str]:
        """Return with which account each attempt was made."""
        rows = await self.rooms.sql(
            "SELECT provider_account FROM job_attempts WHERE job_id = $1 ORDER BY number", job.id
        )
        return [row["provider_account"] for row in rows]


@pytest.fixture
def house(rooms: Rooms) -> House:
    """A worker with two accounts."""
    return House.over(rooms, {"studio": FakeKie(), "archive": FakeKie()})


@pytest.fixture
async def unknown(house: House) -> Job:
    """A job whose worker was lost around its POST with `archive`."""
    job = await house.rooms.enqueue()
    claim = job_events.Claimed("t" * 24, "dead:1", "archive")
    claimed = await house.rooms.deps.store.claim(job, claim)
    lost = job_events.OutcomeUnknown(Reason.WORKER_LOST, "lost")
    await house.rooms.deps.store.record_unknown(claimed, lost)
    return job


# --- submitting -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["studio", "archive"])
async def test_a_submit_is_sent_with_the_account_whose_slot_was_reserved(
    house: House, name: str
) -> None:
    job = await house.submitted(name, "t1")
    assert [len(kie.submit_calls) for kie in house.kies.values()] == [
        int(one == name) for one in house.kies
    ]
    assert await house.accounts_of(job) == [name]


async def test_the_account_is_stored_before_the_post(house: House) -> None:
    stored: list[str] = []

    class Watching(FakeKie):
        async def submit(
            self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
        ) -> SubmitOutcome:
            stored.extend(await house.accounts_of(job))
            raise asyncio.CancelledError  # the worker dies here

    doomed = House.over(house.rooms, {"studio": FakeKie(), "archive": Watching()})
    job = await house.rooms.enqueue()
    with pytest.raises(asyncio.CancelledError):
        await doomed.submit(job, "archive")
    assert stored == ["archive"]
    assert (await house.rooms.now_is(job)).state == "submitting"


async def test_without_a_reservation_the_accounts_take_turns(house: House) -> None:
    for kie in house.kies.values():
        kie.submits += [Accepted(f"{id(kie)}-{number}") for number in range(2)]
    for _ in range(4):
        await house.rooms.submit(await house.rooms.enqueue())
    assert [len(kie.submit_calls) for kie in house.kies.values()] == [2, 2]


async def test_without_a_reservation_a_paused_account_is_passed_over(house: House) -> None:
    studio, archive = house.kies.values()
    studio.submits.append(AccountBlocked("402 credits", 402))
    archive.submits += [Accepted(f"t{number}") for number in range(3)]
    job = await house.rooms.enqueue()
    await house.rooms.submit(job)
    for _ in range(3):
        await house.rooms.submit(await house.rooms.enqueue())
    assert (len(studio.submit_calls), len(archive.submit_calls)) == (1, 3)


# arq's own worker leaves a pipeline unclosed where it is cancelled in the middle of a command.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stock_arq_worker_sends_with_all_accounts(
    house: House, embedded_redis_url: str
) -> None:
    for name, kie in house.kies.items():
        kie.submits += [Accepted(f"{name}-{number}") for number in range(3)]
    jobs = [await house.rooms.enqueue() for _ in range(6)]

    async def are_submitted() -> bool:
        states = {(await house.rooms.now_is(job)).state.value for job in jobs}
        return states == {"generating"}

    step = cast("Any", arq_function_of(house.rooms.deps, submit_job))
    async with connect_redis(embedded_redis_url) as redis:
        worker = Worker(
            functions=[func(step, name=Lane.SUBMIT.function)],
            queue_name=Lane.SUBMIT.value,
            redis_pool=redis,
            job_serializer=serialize,
            job_deserializer=deserialize,
            handle_signals=False,
            poll_delay=0.02,
        )
        working = asyncio.create_task(worker.async_run())
        await eventually(are_submitted, "all are generating")
        async with asyncio.timeout(10):
            while not working.done():
                working.cancel()
                await asyncio.wait([working], timeout=0.1)
    assert [len(kie.submit_calls) for kie in house.kies.values()] == [3, 3]


# --- one account refused ----------------------------------------------------------------------


async def test_a_refused_account_pauses_alone_and_its_job_goes_to_another_at_once(
    house: House,
) -> None:
    job = await house.rooms.enqueue()
    house.kies["studio"].submits.append(AccountBlocked("402 credits", 402))
    with structlog.testing.capture_logs() as logs:
        delay_seconds = await house.submit(job, "studio")
    assert delay_seconds is not None
    assert delay_seconds < 5, "the pause of 15 s is the account's, not the job's"
    assert [one.brake.level for one in house.rooms.deps.accounts] == [1, 0]
    (paused,) = [log for log in logs if log["event"] == "submits_paused"]
    assert (paused["account"], paused["log_level"]) == ("studio", "critical")
    await house.rooms.make_due(job)
    house.kies["archive"].submits.append(Accepted("t1"))
    house.rooms.clock.advance(delay_seconds)
    await house.submit(job, "archive")
    assert (await house.rooms.now_is(job)).state == "generating"
    assert await house.accounts_of(job) == ["studio", "archive"]
    assert [one.brake.level for one in house.rooms.deps.accounts] == [1, 0]


async def test_where_every_account_is_held_back_the_job_waits_for_the_pause(house: House) -> None:
    delays = []
    for name in house.kies:
        job = await house.rooms.enqueue()
        house.kies[name].submits.append(TryLater(Reason.RATE_LIMITED, "429"))
        delays.append(await house.submit(job, name) or 0)
    assert delays[1] - delays[0] > 0.3
    assert delays[1] >= 1


# --- asking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("studio", "archive"), ("archive", "studio")])
async def test_a_task_is_polled_with_the_key_that_made_it_after_a_restart_too(
    house: House, order: tuple[str, str]
) -> None:
    jobs = {name: await house.submitted(name, f"of-{name}") for name in house.kies}
    for name, job in jobs.items():
        house.kies[name].polls += [Pending(0.5), Delivered((URL,))]
        await house.rooms.poll(job)
    anew = house.restarted(*order)
    for job in jobs.values():
        await anew.rooms.poll(job)
    for name, kie in house.kies.items():
        assert [call.task_id for call in kie.poll_calls] == [f"of-{name}"] * 2
        assert (await house.rooms.now_is(jobs[name])).state == "succeeded"


async def test_a_second_attempt_of_another_account_is_polled_with_that_ones_key(
    house: House,
) -> None:
    job = await house.rooms.enqueue()
    first = job_events.Claimed("a" * 24, "w", "studio")
    claimed = await house.rooms.deps.store.claim(job, first)
    await house.rooms.deps.store.record_deferred(
        claimed, job_events.Deferred("rate_limited", "", 0)
    )
    await house.rooms.make_due(job)
    house.kies["archive"].submits.append(Accepted("t2"))
    await house.submit(job, "archive")
    house.kies["archive"].polls.append(Pending(0.5))
    await house.restarted("studio", "archive").rooms.poll(job)
    assert len(house.kies["archive"].poll_calls) == 1


async def test_a_lost_reply_is_recovered_with_the_key_that_sent_the_post(
    house: House, unknown: Job
) -> None:
    archive = house.kies["archive"]
    archive.callback_urls["t1"] = "https://us/callbacks/kie/" + "t" * 24
    archive.polls += [Pending(0.1), Pending(0.2)]
    anew = house.restarted("archive", "studio")
    await _call_back(anew, unknown)
    assert (await house.rooms.now_is(unknown)).state == "generating"
    await anew.rooms.poll(unknown)
    assert [call.task_id for call in archive.poll_calls] == ["t1", "t1"]


# --- a key that is gone -----------------------------------------------------------------------


async def test_without_its_key_a_task_waits_is_said_loudly_once_and_goes_on_with_it(
    house: House,
) -> None:
    job = await house.submitted("archive", "t1")
    without = house.restarted("studio")
    with structlog.testing.capture_logs() as logs:
        delays = [await without.rooms.poll(job) for _ in range(2)]
    assert all(delay is not None and delay >= 5 for delay in delays), delays
    loud = [log for log in logs if log["log_level"] == "critical"]
    assert [(log["event"], log["account"]) for log in loud] == [("kie_account_missing", "archive")]
    shown = house.rooms.registry.get_sample_value(
        "darkroom_kie_account_missing", {"account": "archive"}
    )
    assert shown == 1
    assert house.kies["studio"].poll_calls == []
    house.kies["archive"].polls.append(Delivered((URL,)))
    assert await house.restarted("studio", "archive").rooms.poll(job) is None
    assert (await house.rooms.now_is(job)).state == "succeeded"


async def test_without_its_key_a_task_ends_only_well_past_its_deadline(house: House) -> None:
    job = await house.submitted("archive", "t1")
    without = house.restarted("studio")
    await without.rooms.let_pass(house.rooms.deps.settings.job_deadline_seconds + 1)
    assert await without.rooms.poll(job) is not None
    await without.rooms.let_pass(LAST_POLL_LIMIT_SECONDS)
    assert await without.rooms.poll(job) is None
    after = await house.rooms.now_is(job)
    assert (after.state, after.reason) == ("failed", "deadline_exceeded")
    assert "no key of the Kie account 'archive' is configured" in (after.message or "")


async def test_without_its_key_a_callback_stays_in_the_inbox_until_the_key_is_back(
    house: House, unknown: Job
) -> None:
    inbox_id = await _call_back(house.restarted("studio"), unknown)
    assert (await house.rooms.now_is(unknown)).state == "unknown"
    (row,) = await house.rooms.sql("SELECT handled_at FROM callback_inbox WHERE id = $1", inbox_id)
    assert row["handled_at"] is None


async def test_an_account_without_a_key_answers_nothing_at_all(house: House) -> None:
    keyless = house.rooms.deps.accounts.client_of("gone")
    family: Any = None
    assert await keyless.credit() is None
    assert isinstance(await keyless.poll(family, "t1"), NoVerdict)
    verdict = await keyless.submit(family, cast("Any", None), callback_url=None)
    assert isinstance(verdict, TryLater)


async def _call_back(house: House, job: Job) -> int:
    """Store a callback for the job's attempt and handle it."""
    (row,) = await house.rooms.sql(
        "INSERT INTO callback_inbox (token, provider_task_id)"
        " SELECT token, 't1' FROM job_attempts WHERE job_id = $1 RETURNING id",
        job.id,
    )
    await CallbackHandler(house.rooms.deps, house.rooms.database).handle(row["id"])
    return int(row["id"])
