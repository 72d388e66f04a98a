"""A Kie account that answers slowly has its share of a lane's slots, and no more."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from arq.connections import ArqRedis
from structlog.testing import capture_logs

from shared.adapters.redis.deliveries import Lane
from shared.catalog import ModelFamily
from shared.domain.kie_outcomes import Accepted, Delivered, Pending, PollOutcome
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.bare_lanes import deliver, running, seen
from tests.integration.worker.test_leased_worker_gates import SLOTS, Floor
from tests.integration.worker.worker_setup import WorkerSetup
from worker.kie.account_pool import KieAccount, KieAccountPool
from worker.limits.account_brake import AccountBrake
from worker.limits.account_concurrency import LONGEST_WAIT_SECONDS, AccountConcurrency
from worker.limits.submit_gates import slots_per_account
from worker.steps.poll_state import PollState


class SlowAccount:
    """A body that waits in each delivery of the account `default`, and in no other."""

    def __init__(self) -> None:
        self.floor: Floor | None = None
        self.answers = asyncio.Event()

    async def __call__(self, job_id: str) -> None:
        assert self.floor is not None
        if self.floor.runs.newest[job_id].gate == 0:
            await self.answers.wait()


class WaitingWithoutSlot(SlowAccount):
    """The same, while the slots of its deliveries are given up."""

    async def __call__(self, job_id: str) -> None:
        assert self.floor is not None
        with self.floor.runs.newest[job_id].without_slot():
            await super().__call__(job_id)


@pytest.mark.parametrize(("accounts", "share"), [(2, 50), (3, 33)])
async def test_a_slow_account_leaves_the_others_their_slots(
    redis: ArqRedis, accounts: int, share: int
) -> None:
    slow = SlowAccount()
    slow.floor = floor = Floor(redis, accounts, limit=0, body=slow)
    await deliver(redis, 400, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(400)
        await seen(lambda: floor.running.total() == share, "the others have ended theirs")
        assert floor.most_at_once["default"] == share
        assert floor.came["default"] == share
        slow.answers.set()
        await seen(lambda: floor.running.total() == 0, "the slow ones end as well")
    assert floor.most_at_once.total() <= SLOTS + share


async def test_one_account_alone_has_all_slots(redis: ArqRedis) -> None:
    slow = SlowAccount()
    slow.floor = floor = Floor(redis, 1, limit=0, body=slow)
    await deliver(redis, 150, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await seen(lambda: floor.running["default"] == SLOTS, "every slot is used")
        slow.answers.set()
        await floor.runs.reach(150)


async def test_what_waits_without_a_slot_uses_up_no_share(redis: ArqRedis) -> None:
    waiting = WaitingWithoutSlot()
    waiting.floor = floor = Floor(redis, 2, limit=0, body=waiting)
    await deliver(redis, 160, lane=Lane.SUBMIT)
    async with running(floor.lane):
        await floor.runs.reach(160)
        assert floor.most_at_once["default"] > 50
        waiting.answers.set()
        await seen(lambda: floor.running.total() == 0, "all end")
    assert floor.gates.claim_limits(SLOTS) == [50, 50]


class SlowKie(FakeKie):
    """A Kie that answers no poll before the event."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.asked = 0

    async def poll(self, family: ModelFamily, task_id: str) -> PollOutcome:
        del family, task_id
        self.asked += 1
        await self.answers.wait()
        return Pending(0.0)


async def test_polls_beyond_an_accounts_share_go_back_to_the_queue(setup: WorkerSetup) -> None:
    studio, archive = SlowKie(), FakeKie()
    by_name = {"studio": studio, "archive": archive}
    accounts = [
        KieAccount(name, kie, AccountBrake(setup.deps.scripts, name))
        for name, kie in by_name.items()
    ]
    exchanges = AccountConcurrency(1)
    two = setup.with_deps(
        accounts=KieAccountPool(accounts), poll_state=PollState(concurrency=exchanges)
    )
    jobs = [await two.enqueue() for _ in range(4)]
    for number, job in enumerate(jobs):
        (studio, archive)[number % 2].submits.append(Accepted(f"t{number}"))
        await two.submit(job)
    first, of_archive, second, _ = jobs
    under_way = asyncio.create_task(two.poll(first))
    await seen(lambda: studio.asked == 1, "one poll is under way")
    with capture_logs() as lines:
        waits = [await two.poll(second) for _ in range(3)]
    assert studio.asked == 1
    assert [line["event"] for line in lines] == ["kie_account_slow"]
    assert all(wait is not None and 0 < wait <= LONGEST_WAIT_SECONDS for wait in waits)
    archive.polls.append(Delivered(("https://example.com/1.png",)))
    assert await two.poll(of_archive) is None
    assert (await two.now_is(of_archive)).state == "succeeded"
    studio.answers.set()
    await under_way
    await two.poll(second)
    assert studio.asked == 2


async def test_turns_are_dealt_out_one_after_the_other() -> None:
    clock = FakeClock()
    exchanges = AccountConcurrency(10, monotonic=clock.monotonic)
    assert exchanges.wait_before_start("studio") == 0
    with ExitStack() as ten:
        for _ in range(9):
            ten.enter_context(exchanges.counted("studio"))
        with exchanges.counted("studio"):
            clock.advance(20)
            waits = [exchanges.wait_before_start("studio") for _ in range(5)]
            assert waits == pytest.approx([2, 4, 6, 8, 10], rel=0.05)
            assert exchanges.wait_before_start("archive") == 0
            many = [exchanges.wait_before_start("studio") for _ in range(1_000)]
            assert max(many) == pytest.approx(LONGEST_WAIT_SECONDS)
        assert exchanges.wait_before_start("studio") == 0


@pytest.mark.parametrize(("accounts", "share"), [(1, None), (2, 500), (3, 333), (2_000, 1)])
def test_each_of_several_accounts_has_an_equal_share(accounts: int, share: int | None) -> None:
    assert slots_per_account(accounts, 1_000) == share
