"""What waits is chosen in fair order: by priority, in turn between accounts, oldest first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from producer import Job
from producer.orders.order import Order
from shared.adapters.postgres.database import Database
from shared.domain import job_events
from tests.integration.database.database_setup import DatabaseSetup, deferred
from tests.support.deployment import text_to_image

PLACES_WITHOUT_WAIT = 8


class Queue:
    """A queue in which everything that is placed waits until it is chosen."""

    def __init__(self, setup: DatabaseSetup) -> None:
        self.setup = setup
        self.account_of: dict[UUID, str] = {}
        self.priority_of: dict[UUID, str] = {}

    async def place(self, account: str, jobs: int, **options: Any) -> list[UUID]:
        """Place jobs of one account in one call, and return their ids in order."""
        placed = await self.setup.book.insert(
            [Order(request=text_to_image(), account_id=account, **options)] * jobs
        )
        ids = [one.job.id for one in placed]
        self.account_of |= dict.fromkeys(ids, account)
        self.priority_of |= dict.fromkeys(ids, options.get("priority", "normal"))
        return ids

    async def choose(self, places: int, families: Sequence[str] = ()) -> list[UUID]:
        """Choose jobs, and let them be claimed, so that they are no longer queued."""
        chosen = await self.only_choose(places, families)
        for job_id in chosen:
            job = await self.setup.store.load(job_id)
            await self.setup.move(job, job_events.Claimed)
        return chosen

    async def only_choose(self, places: int, families: Sequence[str] = ()) -> list[UUID]:
        """Choose jobs as if the last choice were long ago."""
        await self.setup.sql("UPDATE chosen_jobs SET chosen_at = chosen_at - interval '1 minute'")
        [row] = await self.setup.database.fetch("choose_jobs", places, list(families))
        assert not row["is_busy"]
        return [UUID(int=one.int) for one in row["chosen"]]

    async def accounts(self, places: int) -> list[str]:
        """Choose jobs, and return their accounts in order."""
        return [self.account_of[one] for one in await self.choose(places)]


@pytest.fixture
async def queue(setup: DatabaseSetup) -> Queue:
    """A queue behind a job that waits, so that nothing is chosen when it is placed."""
    made = Queue(setup)
    for name in ("bolt", "cord", "dune"):
        await setup.open_account(name, 10_000)
    await setup.billing.grant("acme", Decimal(10_000), "for the test")
    await setup.sql("UPDATE accounts SET max_open_jobs = 1000000")
    return made


async def limit(queue: Queue, account: str, open_jobs: int | None) -> None:
    await queue.setup.sql(
        "UPDATE accounts SET max_open_jobs = $2 WHERE id = $1", account, open_jobs
    )


async def weigh(queue: Queue, **weights: float) -> None:
    for account, weight in weights.items():
        await queue.setup.sql(
            "UPDATE accounts SET weight = $2::float8 WHERE id = $1", account, weight
        )


# --- between accounts -----------------------------------------------------------------------


async def test_one_account_alone_is_first_in_first_out(queue: Queue) -> None:
    first, second = await queue.place("acme", 12), await queue.place("acme", 12)
    chosen = [*await queue.choose(5), *await queue.choose(64)]
    assert chosen == [*first, *second]


async def test_two_accounts_take_turns_however_many_jobs_one_has(queue: Queue) -> None:
    await queue.place("acme", 60)
    assert await queue.accounts(4) == ["acme"] * 4
    await queue.place("bolt", 4)
    chosen = await queue.accounts(10)
    assert Counter(chosen[:8]) == {"acme": 4, "bolt": 4}
    assert max(len(list(run)) for _, run in groupby(chosen[:8])) <= 2
    assert chosen[8:] == ["acme", "acme"]


async def test_shares_follow_the_weights_and_a_change_holds_at_once(queue: Queue) -> None:
    await weigh(queue, acme=1, bolt=2, cord=4)
    for name in ("acme", "bolt", "cord"):
        await queue.place(name, 60)
    assert Counter(await queue.accounts(28)) == {"acme": 4, "bolt": 8, "cord": 16}
    await weigh(queue, acme=4, cord=1)
    assert Counter(await queue.accounts(28)) == pytest.approx(
        {"acme": 16, "bolt": 8, "cord": 4}, abs=2
    )


async def test_choices_one_by_one_give_the_order_of_one_choice(queue: Queue) -> None:
    await weigh(queue, acme=3, bolt=1)
    for name in ("acme", "bolt", "cord"):
        await queue.place(name, 12)
    single = [(await queue.accounts(1))[0] for _ in range(20)]
    assert Counter(single) == pytest.approx({"acme": 12, "bolt": 4, "cord": 4}, abs=1)
    assert {"bolt", "cord"} <= set(single[:5])


async def test_nobody_saves_up_turns_while_away(queue: Queue) -> None:
    await queue.place("acme", 200)
    await queue.place("bolt", 2)
    assert Counter(await queue.accounts(64))["acme"] == 62
    await queue.place("bolt", 40)
    assert Counter(await queue.accounts(20)) == pytest.approx({"acme": 10, "bolt": 10}, abs=1)


async def test_who_places_one_job_after_the_other_gets_no_more_than_its_share(
    queue: Queue,
) -> None:
    await queue.place("acme", 60)
    got: list[str] = []
    for _ in range(20):
        await queue.place("bolt", 1)
        got += await queue.accounts(2)
    assert Counter(got) == pytest.approx({"acme": 20, "bolt": 20}, abs=1)


async def test_many_new_accounts_do_not_keep_an_old_one_waiting(
    queue: Queue, setup: DatabaseSetup
) -> None:
    await queue.place("dune", 1)
    for number in range(12):
        name = f"a{number}"
        await setup.open_account(name, 100)
        await limit(queue, name, 1_000)
        await queue.place(name, 1)
        if number == 3:
            chosen = await queue.accounts(2)
    assert chosen[0] == "dune"


# --- between priorities ---------------------------------------------------------------------


async def test_of_21_jobs_16_are_high_4_normal_and_1_low_while_all_three_wait(
    queue: Queue,
) -> None:
    for priority in ("low", "normal", "high"):
        await queue.place("acme", 100, priority=priority)
    for _ in range(3):
        chosen = await queue.choose(21)
        assert Counter(queue.priority_of[one] for one in chosen) == pytest.approx(
            {"high": 16, "normal": 4, "low": 1}, abs=1
        )
        assert queue.priority_of[chosen[0]] in {"high", "normal"}


async def test_a_priority_with_nothing_waiting_passes_its_share_on(queue: Queue) -> None:
    await queue.place("acme", 50, priority="low")
    assert len(await queue.choose(10)) == 10
    await queue.place("bolt", 5, priority="high")
    chosen = await queue.choose(7)
    assert Counter(queue.priority_of[one] for one in chosen) == {"high": 5, "low": 2}
    assert [queue.priority_of[one] for one in chosen][:2].count("high") >= 1


async def test_the_priority_of_one_account_does_not_change_the_turns_in_another_class(
    queue: Queue,
) -> None:
    await queue.place("acme", 40, priority="high")
    await queue.place("bolt", 40)
    await queue.place("cord", 40)
    chosen = await queue.choose(40)
    of_normal = [queue.account_of[one] for one in chosen if queue.priority_of[one] == "normal"]
    assert Counter(of_normal) == pytest.approx({"bolt": 4, "cord": 4}, abs=1)


# --- what may not be chosen -----------------------------------------------------------------


async def test_no_job_is_chosen_before_it_is_due(queue: Queue, setup: DatabaseSetup) -> None:
    monday = datetime.now(UTC) + timedelta(days=3)
    await queue.place("acme", 3, run_at=monday)
    now = await queue.place("acme", 2)
    assert await queue.choose(10) == now
    [row] = await setup.database.fetch("choose_jobs", 5, [])
    assert row["again_seconds"] == pytest.approx(3 * 24 * 3600, abs=60)
    await setup.sql("UPDATE jobs SET due_at = now() WHERE state = 'queued'")
    assert len(await queue.choose(10)) == 3


@pytest.mark.parametrize(("scope", "value"), [("account", "acme"), ("model", "gpt-4o-image")])
async def test_what_is_paused_is_not_chosen_and_gets_no_more_than_its_share_afterwards(
    queue: Queue, setup: DatabaseSetup, scope: str, value: str
) -> None:
    await queue.place("acme", 40)
    await queue.place("bolt", 40)
    await queue.choose(4)
    await setup.sql("SELECT darkroom_pause($1, $2, 'why')", scope, value)
    during = await queue.accounts(20)
    assert set(during) == ({"bolt"} if scope == "account" else set())
    await setup.sql("SELECT darkroom_resume_scope($1, $2)", scope, value)
    assert Counter(await queue.accounts(20)) == pytest.approx({"acme": 10, "bolt": 10}, abs=1)


async def test_a_pause_of_everything_stops_the_choice(queue: Queue, setup: DatabaseSetup) -> None:
    await queue.place("acme", 3)
    await setup.sql("SELECT darkroom_pause('everything', NULL, 'why')")
    assert await queue.choose(3) == []


async def test_an_account_never_has_more_open_jobs_than_its_limit(
    queue: Queue, setup: DatabaseSetup
) -> None:
    await limit(queue, "acme", 3)
    await queue.place("acme", 5)
    await queue.place("acme", 5, priority="high")
    await queue.place("bolt", 3)
    assert Counter(await queue.accounts(20)) == {"acme": 3, "bolt": 3}
    assert await queue.accounts(20) == []
    [row] = await setup.database.fetch("choose_jobs", 5, [])
    assert 0 < row["again_seconds"] <= 1
    ended = await setup.value(
        "SELECT id FROM jobs WHERE account_id = 'acme' AND state = 'submitting' LIMIT 1"
    )
    await setup.move(await setup.store.load(UUID(int=ended.int)), job_events.Rejected)
    assert await queue.accounts(20) == ["acme"]


async def test_a_job_whose_attempt_was_deferred_counts_as_chosen(
    queue: Queue, setup: DatabaseSetup
) -> None:
    await limit(queue, "acme", 1)
    await queue.place("acme", 2)
    (job_id,) = await queue.only_choose(5)
    job = await setup.move(await setup.store.load(job_id), job_events.Claimed)
    await setup.store.record_deferred(job, deferred(60))
    assert await queue.only_choose(5) == []


async def test_of_a_braked_family_one_job_is_chosen_at_a_time(queue: Queue) -> None:
    await queue.place("acme", 5)
    braked = ["gpt-4o-image"]
    assert len(await queue.only_choose(1, braked)) == 1
    assert await queue.only_choose(5, braked) == []
    assert len(await queue.only_choose(5)) == 4


# --- several workers, crashes, locks --------------------------------------------------------


async def test_while_one_session_chooses_another_returns_at_once(
    queue: Queue, setup: DatabaseSetup, database_url: str
) -> None:
    await queue.place("acme", 3)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT darkroom_choose_jobs(1)")
            [row] = await setup.database.fetch("choose_jobs", 2, [])
            assert (row["chosen"], row["is_busy"]) == ([], True)
            raise _WorkerDied
    except _WorkerDied:
        pass
    finally:
        await connection.close()
    # The choice of a worker that died before its commit is as if it had never been.
    assert len(await queue.only_choose(5)) == 3


class _WorkerDied(Exception):
    """Ends a transaction without a commit."""


async def test_who_chooses_right_after_another_is_told_to_choose_again(
    queue: Queue, setup: DatabaseSetup
) -> None:
    await queue.place("acme", 30)
    assert len(await queue.only_choose(8)) == 8
    # Those may not be in Redis yet, so they count.
    [row] = await setup.database.fetch("choose_jobs", 2, [])
    assert row["chosen"] == []
    assert 0 < row["again_seconds"] <= 0.1
    [row] = await setup.database.fetch("choose_jobs", 10, [])
    assert len(row["chosen"]) < 10
    assert row["again_seconds"] is not None


async def test_many_sessions_choose_each_job_once(queue: Queue, setup: DatabaseSetup) -> None:
    ids = await queue.place("acme", 40)

    async def choose_all() -> list[UUID]:
        chosen: list[UUID] = []
        for _ in range(100):
            [row] = await setup.database.fetch("choose_jobs", 5, [])
            chosen += [UUID(int=one.int) for one in row["chosen"]]
            if not row["chosen"] and not row["is_busy"]:
                await setup.sql(
                    "UPDATE chosen_jobs SET chosen_at = chosen_at - interval '1 minute'"
                )
        return chosen

    found = await asyncio.gather(*(choose_all() for _ in range(4)))
    assert sorted(one for part in found for one in part) == sorted(ids)


async def test_a_locked_job_keeps_nobody_from_being_chosen(
    queue: Queue, setup: DatabaseSetup, database_url: str
) -> None:
    first, *_ = await queue.place("acme", 3)
    await queue.place("bolt", 3)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", first)
            await connection.execute("SELECT FROM accounts WHERE id = 'acme' FOR UPDATE")
            async with asyncio.timeout(5):
                assert len(await queue.only_choose(6)) == 6
                await setup.database.fetch("take_back_jobs")
    finally:
        await connection.close()


async def test_turns_of_accounts_with_nothing_queued_are_forgotten_and_come_back(
    queue: Queue, setup: DatabaseSetup
) -> None:
    await queue.place("acme", 1)
    await queue.place("bolt", 9)
    await queue.choose(6)
    await setup.database.fetch("take_back_jobs")
    rows = await setup.sql("SELECT account_id FROM account_turns")
    assert [row["account_id"] for row in rows] == ["bolt"]
    await queue.place("acme", 1)
    assert "acme" in await queue.accounts(2)


async def test_an_enqueue_that_waits_for_its_account_is_seen_before_its_turn_is_forgotten(
    queue: Queue, setup: DatabaseSetup, database_url: str
) -> None:
    await queue.place("acme", 1)
    await queue.place("bolt", 6)
    # The virtual time of the others has passed that of the account.
    await queue.choose(7)
    connection = await asyncpg.connect(database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT FROM accounts WHERE id = 'acme' FOR UPDATE")
        await setup.database.fetch("take_back_jobs")
        turns = "SELECT count(*) FROM account_turns WHERE account_id = 'acme'"
        assert await setup.value(turns) == 1
        await transaction.commit()
    finally:
        await connection.close()
    await queue.place("acme", 1)
    await setup.database.fetch("take_back_jobs")
    assert len(await queue.choose(1)) == 1


# --- an idle queue --------------------------------------------------------------------------


async def enqueue(setup: DatabaseSetup, jobs: int, **options: Any) -> list[bool]:
    placed = await setup.book.insert(
        [Order(request=text_to_image(), account_id="acme", **options)] * jobs
    )
    return [one.is_chosen for one in placed]


async def test_jobs_that_meet_an_idle_queue_are_chosen_at_once_up_to_eight(
    setup: DatabaseSetup,
) -> None:
    assert await enqueue(setup, 1) == [True]
    assert await enqueue(setup, 9) == [True] * 7 + [False] * 2
    assert await enqueue(setup, 1) == [False]


@pytest.mark.parametrize("why", ["scheduled", "limited", "paused", "another waits"])
async def test_other_jobs_wait_to_be_chosen(setup: DatabaseSetup, why: str) -> None:
    options: dict[str, Any] = {}
    if why == "scheduled":
        options["run_at"] = datetime.now(UTC) + timedelta(hours=1)
    elif why == "limited":
        await setup.sql("UPDATE accounts SET max_open_jobs = 5")
    elif why == "paused":
        await setup.sql("SELECT darkroom_pause('account', 'acme', 'why')")
    else:
        await enqueue(setup, 1)
        await setup.sql("DELETE FROM chosen_jobs")
    assert await enqueue(setup, 2, **options) == [False, False]


async def test_a_pause_takes_back_what_was_chosen(setup: DatabaseSetup) -> None:
    await enqueue(setup, 2)
    await setup.sql("SELECT darkroom_pause('account', 'acme', 'why')")
    taken = await setup.database.fetch("take_back_jobs")
    assert len(taken) == 2
    await setup.sql("SELECT darkroom_resume_scope('account', 'acme')")
    [row] = await setup.database.fetch("choose_jobs", 5, [])
    assert len(row["chosen"]) == 2


async def test_a_claim_and_a_cancel_end_a_choice(setup: DatabaseSetup) -> None:
    jobs: list[Job] = [await setup.enqueue() for _ in range(2)]
    await setup.move(jobs[0], job_events.Claimed)
    await setup.move(jobs[1], job_events.Cancelled)
    await setup.database.fetch("take_back_jobs")
    assert await setup.value("SELECT count(*) FROM chosen_jobs") == 0


async def test_jobs_that_were_queued_before_there_was_an_order_are_chosen(
    setup: DatabaseSetup, database: Database
) -> None:
    await enqueue(setup, 3)
    await setup.sql("DELETE FROM chosen_jobs")
    await setup.sql(
        "INSERT INTO account_turns (account_id, priority)"
        " SELECT DISTINCT account_id, priority FROM jobs WHERE state = 'queued'"
    )
    [row] = await setup.database.fetch("choose_jobs", 5, [])
    assert len(row["chosen"]) == 3
