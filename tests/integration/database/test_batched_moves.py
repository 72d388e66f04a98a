"""Moves of many jobs in one statement: one commit, and no job is affected by another."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, fields, replace
from typing import Any

import asyncpg
import pytest

from shared.adapters.postgres.database import Database
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import PostgresDown, StaleJob, TaskOfAnotherJob
from tests.integration.database.database_setup import DatabaseSetup, claimed, completed, submitted
from tests.support.deployment import text_to_image
from tests.support.example_jobs import polled
from worker.store.job_store import JobStore
from worker.store.settled_job import SettledJob


class Counted:
    """Named queries over a pool, counted by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.calls: Counter[str] = Counter()

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Count it and run it."""
        self.calls[query] += 1
        return await self._database.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Count it and run it."""
        self.calls[query] += 1
        return await self._database.fetch_row(query, *args)


async def generating(setup: DatabaseSetup, count: int, *, account_id: str = "acme") -> list[Job]:
    """Return that many generating jobs, with one, two and four images alternately."""
    return [
        await setup.job_in(
            JobState.GENERATING,
            request=text_to_image(quantity=(1, 2, 4)[number % 3]),
            account_id=account_id,
        )
        for number in range(count)
    ]


async def test_jobs_that_move_together_are_one_statement_for_each_step(
    setup: DatabaseSetup,
) -> None:
    queries = Counted(setup.database)
    store = JobStore(queries)
    jobs = [await setup.enqueue() for _ in range(20)]
    loaded = await asyncio.gather(*(store.load(job.id) for job in jobs))
    assert loaded == jobs
    sent = await asyncio.gather(*(store.claim(job, claimed()) for job in jobs))
    running = await asyncio.gather(*(store.record_submitted(job, submitted()) for job in sent))
    await asyncio.gather(
        *(store.record_progress(polled(job), job_events.Progressed(0.4)) for job in running)
    )
    ended = await asyncio.gather(
        *(store.settle(polled(job), completed(), "current") for job in running)
    )
    # All calls of one turn of the event loop are sent together.
    assert queries.calls == {
        "jobs_to_run": 1, "claim_jobs": 1, "record_submitted": 1, "record_progress": 1,
        "settle_jobs": 1,
    }  # fmt: skip
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert await setup.money() == (1_000 - 20 * 6, 0)
    assert await setup.broken_invariants() == {}


async def test_what_a_move_returns_is_what_is_stored(setup: DatabaseSetup) -> None:
    jobs = [await setup.enqueue(metadata={"number": number}) for number in range(3)]
    sent = await asyncio.gather(*(setup.store.claim(job, claimed()) for job in jobs))
    assert sent == [await setup.store.load(job.id) for job in jobs]
    running = await asyncio.gather(
        *(setup.store.record_submitted(job, submitted()) for job in sent)
    )
    assert running == [await setup.store.load(job.id) for job in jobs]
    ended = await asyncio.gather(
        *(setup.store.settle(polled(job), completed(), "current") for job in running)
    )
    for job in ended:
        stored = await setup.store.load(job.id)
        assert asdict(job) == {one.name: getattr(stored, one.name) for one in fields(job)}


async def test_each_entry_shows_the_account_as_it_stood_right_after_it(
    setup: DatabaseSetup,
) -> None:
    await setup.open_account("other")
    jobs = [*await generating(setup, 7), *await generating(setup, 4, account_id="other")]
    await asyncio.gather(
        *(setup.settle(job, images=min(number % 4 + 1, job.quantity))
          for number, job in enumerate(jobs))
    )  # fmt: skip
    for name in ("acme", "other"):
        rows = await setup.sql(
            "SELECT balance_change, held_change, balance_after, held_after FROM ledger_entries"
            " WHERE account_id = $1 ORDER BY id",
            name,
        )
        balance, held = 0, 0
        for row in rows:
            balance, held = balance + row["balance_change"], held + row["held_change"]
            assert (row["balance_after"], row["held_after"]) == (balance, held)
        assert await setup.money(name) == (balance, 0)
    assert await setup.broken_invariants() == {}


async def test_jobs_settled_together_are_charged_as_each_would_be_alone(
    setup: DatabaseSetup,
) -> None:
    await setup.open_account("alone")
    together = await generating(setup, 9)
    alone = await generating(setup, 9, account_id="alone")
    await setup.set_price(11, quantity=2)
    images = [number % 4 + 1 for number in range(9)]
    for basis in ("current", "quoted", "lower_of"):
        some = slice(*{"current": (0, 3), "quoted": (3, 6), "lower_of": (6, 9)}[basis])
        ended = await asyncio.gather(
            *(setup.settle(job, images=n, basis=basis)
              for job, n in zip(together[some], images[some], strict=True))
        )  # fmt: skip
        for job, other, n in zip(ended, alone[some], images[some], strict=True):
            single = await setup.settle(other, images=n, basis=basis)
            assert (job.credits_charged, job.price_id) == (single.credits_charged, single.price_id)
    assert await setup.money() == await setup.money("alone")


async def test_of_two_settlements_of_one_job_at_once_one_is_stale(
    setup: DatabaseSetup,
) -> None:
    job, other = await generating(setup, 2)
    outcomes = await asyncio.gather(
        setup.settle(job), setup.settle(other), setup.settle(job), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Job, Job, StaleJob]
    assert await setup.broken_invariants() == {}


async def test_a_refused_move_fails_no_other_move_of_its_batch(setup: DatabaseSetup) -> None:
    holder = await setup.job_in(JobState.GENERATING)
    assert holder.provider_task_id is not None
    jobs = [await setup.job_in(JobState.SUBMITTING) for _ in range(5)]
    tasks = [submitted() for _ in jobs]
    tasks[2] = replace(tasks[2], provider_task_id=holder.provider_task_id)
    outcomes = await asyncio.gather(
        *(setup.store.record_submitted(job, task) for job, task in zip(jobs, tasks, strict=True)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Job, Job, TaskOfAnotherJob, Job, Job]
    states = [(await setup.store.load(job.id)).state for job in jobs]
    assert states.count(JobState.GENERATING) == 4
    assert states[2] == JobState.SUBMITTING


@pytest.mark.parametrize("sqlstate", ["P0001", "54000", "38000"])
async def test_a_move_that_the_server_cannot_make_fails_no_other_move_of_its_batch(
    setup: DatabaseSetup, sqlstate: str
) -> None:
    jobs = [await setup.job_in(JobState.SUBMITTING) for _ in range(5)]
    await setup.sql(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'not this one' USING ERRCODE = '{sqlstate}'; END $$"
    )
    await setup.sql(
        "CREATE TRIGGER refuse_one BEFORE UPDATE ON jobs FOR EACH ROW"
        f" WHEN (NEW.id = '{jobs[2].id}') EXECUTE FUNCTION refuse_one()"
    )
    outcomes = await asyncio.gather(
        *(setup.store.record_submitted(job, submitted()) for job in jobs), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Job, Job, PostgresDown, Job, Job]
    states = [(await setup.store.load(job.id)).state for job in jobs]
    assert states.count(JobState.GENERATING) == 4


async def test_two_workers_that_settle_the_same_jobs_charge_each_once(setup: DatabaseSetup) -> None:
    jobs = await generating(setup, 30)
    stores = [JobStore(setup.database) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(store.settle(polled(job), completed(), "current")
          for store, some in zip(stores, (jobs, jobs[::-1], jobs[10:] + jobs[:10]), strict=True)
          for job in some),
        return_exceptions=True,
    )  # fmt: skip
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds == {SettledJob: 30, StaleJob: 60}
    assert await setup.value("SELECT count(*) FROM ledger_entries WHERE kind = 'capture'") == 30
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("urls", [('https://images.example/ä?q="x"&n=1', "https://b.example/\\2")])
async def test_image_urls_are_stored_letter_by_letter(
    setup: DatabaseSetup, urls: tuple[str, ...]
) -> None:
    job = await setup.job_in(JobState.GENERATING, request=text_to_image(quantity=2))
    await setup.store.settle(polled(job), job_events.Completed(urls), "current")
    assert (await setup.store.load(job.id)).result_urls == urls
