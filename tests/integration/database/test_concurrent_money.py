"""Many callers move money at once, and every invariant of the ledger holds at all times."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID

import pytest

from shared.adapters.postgres.database import Database
from shared.domain import job_events
from shared.domain.job_events import Event
from shared.domain.lifecycle import OPEN, TRANSITIONS
from shared.errors import InsufficientCredits, StaleJob, TooEarly, TooLateToCancel
from shared.settings import ChargeBasis
from tests.integration.database.database_setup import MOVES, DatabaseSetup
from tests.support.deployment import text_to_image

SECONDS = 3.0
SECONDS_AT_MOST = 60.0
ACCOUNTS = ("acme", "bolt", "cord")
HANDS, READERS = 6, 2
BASES: tuple[ChargeBasis, ...] = ("current", "quoted", "lower_of")
# What is refused on the way is as it should be; anything else that is raised fails the test.
# A claim is too early for a job that another caller has put off since it was read.
EXPECTED = (InsufficientCredits, StaleJob, TooEarly, TooLateToCancel)


class ConcurrentCaller:
    """One of many concurrent callers. The seed determines its actions and their order."""

    def __init__(self, setup: DatabaseSetup, seed: int, jobs: list[UUID]) -> None:
        self._setup = setup
        self._random = random.Random(seed)
        self._jobs = jobs
        self.done: Counter[str] = Counter()

    async def work(self, is_over: Callable[[], bool]) -> None:
        """Perform random actions until the end."""
        deeds: tuple[Callable[[], Awaitable[None]], ...] = (
            *(self._enqueue, self._enqueue, self._set_price, self._grant),
            *([self._happen] * 10),
        )
        while not is_over():
            deed = self._random.choice(deeds)
            try:
                await deed()
                self.done[deed.__name__] += 1
            except EXPECTED as error:
                self.done[type(error).__name__] += 1

    async def _enqueue(self) -> None:
        request = text_to_image(quantity=self._random.choice((1, 2, 4)))
        key = self._random.choice((None, f"key-{self._random.randrange(1_000)}-{request.quantity}"))
        job = await self._setup.enqueue(
            request, account_id=self._random.choice(ACCOUNTS), idempotency_key=key
        )
        self._jobs.append(job.id)

    async def _set_price(self) -> None:
        await self._setup.set_price(
            self._random.randrange(0, 40) / 4, quantity=self._random.choice((1, 2, 4))
        )

    async def _grant(self) -> None:
        credits = Decimal(self._random.choice((-20, 5, 50)))
        await self._setup.billing.grant(self._random.choice(ACCOUNTS), credits, "by chance")

    async def _happen(self) -> None:
        if not self._jobs:
            return
        job = await self._setup.store.load(self._random.choice(self._jobs[-60:]))
        possible = [one.event for one in TRANSITIONS if job.state in one.sources] or [
            one.event for one in TRANSITIONS
        ]
        event: type[Event] = self._random.choice(possible)
        if event is job_events.Completed:
            images = self._random.randint(1, job.quantity)
            await self._setup.settle(job, images=images, basis=self._random.choice(BASES))
        else:
            await MOVES[event](self._setup, job)
        self.done[event.__name__] += 1


async def read_until(database: Database, is_over: Callable[[], bool]) -> int:
    """Check repeatedly, each time in one snapshot, that accounts equal their ledger."""
    queries = 0
    async with database.pool.acquire() as connection:
        while not is_over():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                accounts = await connection.fetch("SELECT id, balance, held FROM accounts")
                sums = await connection.fetch(
                    "SELECT account_id, sum(balance_change), sum(held_change)"
                    "  FROM ledger_entries GROUP BY account_id"
                )
            assert sorted(map(tuple, accounts)) == sorted(map(tuple, sums))
            queries += 1
    return queries


@pytest.mark.parametrize("seed", [20_240_607])
async def test_after_any_concurrent_changes_the_books_are_right(
    setup: DatabaseSetup, seed: int
) -> None:
    for name in ACCOUNTS[1:]:
        await setup.open_account(name, 200)
    jobs: list[UUID] = []
    callers = [ConcurrentCaller(setup, seed + n, jobs) for n in range(HANDS)]
    loop = asyncio.get_running_loop()
    began = loop.time()

    def unseen() -> set[str]:
        done = set().union(*(caller.done for caller in callers))
        return {one.event.__name__ for one in TRANSITIONS} - done

    def is_over() -> bool:
        # On a slow machine it takes longer until every event has happened.
        seconds = loop.time() - began
        return seconds > SECONDS_AT_MOST or (seconds > SECONDS and not unseen())

    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller.work(is_over))
        readers = [group.create_task(read_until(setup.database, is_over)) for _ in range(READERS)]
    assert await setup.broken_invariants() == {}, f"seed {seed}"
    await every_entry_continues_the_one_before(setup)
    assert min(reader.result() for reader in readers) > 5
    done = sum((caller.done for caller in callers), Counter[str]())
    assert unseen() == set(), f"seed {seed} after {done}"
    assert done["_enqueue"] > 20, done
    await end_everything(setup)
    assert await setup.value("SELECT sum(held) FROM accounts") == 0
    assert await setup.broken_invariants() == {}, f"seed {seed}"


async def every_entry_continues_the_one_before(setup: DatabaseSetup) -> None:
    """Fail unless each entry's balances are those of the previous entry plus its change."""
    broken = await setup.sql(
        "SELECT id FROM ("
        " SELECT id, balance_after, held_after,"
        "        sum(balance_change) OVER chain AS balance, sum(held_change) OVER chain AS held"
        "   FROM ledger_entries WINDOW chain AS (PARTITION BY account_id ORDER BY id)) AS entry"
        " WHERE (balance_after, held_after) <> (balance, held)"
    )
    assert [row["id"] for row in broken] == []


async def end_everything(setup: DatabaseSetup) -> None:
    """Bring every open job to an end."""
    ways: dict[str, tuple[type[Event], ...]] = {
        "queued": (job_events.Cancelled,),
        "submitting": (job_events.Rejected,),
        "unknown": (job_events.SubmissionLost,),
        "generating": (job_events.Completed,),
    }
    assert set(ways) == set(OPEN)
    for row in await setup.sql("SELECT id, state FROM jobs WHERE finished_at IS NULL"):
        await setup.move(await setup.store.load(row["id"]), *ways[row["state"]])
