"""History: one sample per interval, of what happened within it, kept for a while."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from producer.monitoring.history import read_history
from shared.adapters.monitoring.queue_snapshot import read_day_totals
from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.named_queries import get_query
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import InvalidRequest
from tests.integration.database.database_setup import DatabaseSetup

SHORT, LONG = 15, 300


@dataclass(frozen=True, slots=True)
class Moment:
    """One transaction, in which no time passes."""

    connection: Connection

    async def sql(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        return await self.connection.fetch(statement, *args)

    async def ends_at(self, job: Job, moment: datetime, **columns: object) -> None:
        """Have an ended job end at that moment."""
        names = ["finished_at", *columns]
        places = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, start=2))
        await self.sql(f"UPDATE jobs SET {places} WHERE id = $1", job.id, moment, *columns.values())

    async def sample(self, accounts: dict[str, Any] | None = None) -> asyncpg.Record:
        """Sample, and return the row of the short interval."""
        await self.sql(get_query("sample_history"), accounts or {})
        rows = await self.sql(
            "SELECT * FROM history_samples WHERE interval_seconds = $1"
            " ORDER BY starts_at DESC LIMIT 1",
            SHORT,
        )
        return rows[0]

    async def pass_an_interval(self) -> None:
        """Move the samples, and what they count, into the past by one short interval."""
        await self.sql(
            "UPDATE history_samples SET starts_at = starts_at - interval '15 s',"
            " sampled_at = sampled_at - interval '15 s' WHERE interval_seconds = $1",
            SHORT,
        )

    async def worker_has_polled(self, polls: int, *, id: str, seconds_old: float = 0) -> None:
        """Have a worker of that id say how many polls it has sent."""
        await self.sql(
            "INSERT INTO processes (id, kind, name, version, redis, detail, started_at)"
            " VALUES ($1::text::uuid, 'worker', $1, '1', 'r', jsonb_build_object('polls', $2::int),"
            " now() - make_interval(secs => $3))"
            " ON CONFLICT (id) DO UPDATE SET detail = excluded.detail",
            f"{id:0<8}-0000-4000-8000-000000000000",
            polls,
            float(seconds_old),
        )


@pytest.fixture
async def moment(setup: DatabaseSetup) -> AsyncIterator[Moment]:
    await setup.sql("ALTER TABLE jobs DISABLE TRIGGER jobs_end_once")
    async with setup.database.pool.acquire() as connection, connection.transaction():
        yield Moment(connection)


@asynccontextmanager
async def bounds(moment: Moment) -> AsyncIterator[tuple[datetime, datetime]]:
    """Yield the begin and the end of the short interval that is sampled at this moment."""
    (row,) = await moment.sql(
        "SELECT date_bin('15 s', now() - interval '3 s', 'epoch') AS ends,"
        "       date_bin('15 s', now() - interval '3 s', 'epoch') - interval '15 s' AS begins"
    )
    yield row["begins"], row["ends"]


async def test_each_interval_is_sampled_once_by_however_many_workers(setup: DatabaseSetup) -> None:
    answers = await asyncio.gather(*(setup.database.fetch("sample_history", {}) for _ in range(24)))
    said = Counter(row["interval_seconds"] for rows in answers for row in rows)
    kept = await setup.sql("SELECT interval_seconds, count(*) FROM history_samples GROUP BY 1")
    assert said == dict(map(tuple, kept))
    assert set(said) == {SHORT, LONG}
    assert said[SHORT] <= 2, "two where an interval ended meanwhile"
    again = await setup.sql(
        "SELECT count(DISTINCT (interval_seconds, starts_at)) FROM history_samples"
    )
    assert again[0][0] == said.total()


async def test_a_sample_counts_what_happened_from_its_start_up_to_its_end(
    setup: DatabaseSetup, moment: Moment
) -> None:
    jobs = {
        state: [await setup.job_in(state) for _ in range(4)]
        for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    }
    running = [await setup.job_in(JobState.GENERATING) for _ in range(3)]
    async with bounds(moment) as (begins, ends):
        for own in jobs.values():
            tick = (await moment.sql("SELECT interval '1 us' AS tick"))[0]["tick"]
            for job, at in zip(own, (begins - tick, begins, ends - tick, ends), strict=True):
                await moment.ends_at(job, at)
        for job, at in zip(running, (begins - tick, begins, ends), strict=True):
            await moment.sql("UPDATE jobs SET submitted_at = $2 WHERE id = $1", job.id, at)
        for state in (JobState.SUCCEEDED, JobState.FAILED):
            for job in jobs[state]:
                await moment.sql("UPDATE jobs SET submitted_at = $2 WHERE id = $1", job.id, begins)
        row = await moment.sample()
    assert row["starts_at"] == begins
    assert (row["succeeded"], row["failed"], row["cancelled"]) == (2, 2, 2)
    # One runs. Of each four that ended, one had ended before its own submit, and is not counted.
    assert row["submitted"] == 1 + 3 + 3
    assert row["credits_charged"] == 2 * 6
    assert (row["generating"], row["credits_held"]) == (3, 3 * 6)


async def test_a_job_that_is_accepted_counts_in_the_interval_of_its_id(
    setup: DatabaseSetup, moment: Moment
) -> None:
    jobs = [await setup.enqueue() for _ in range(3)]
    async with bounds(moment) as (begins, ends):
        for job, at in zip(jobs, (begins, ends, None), strict=True):
            await moment.sql("DELETE FROM job_events WHERE job_id = $1", job.id)
            await moment.sql("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
            await moment.sql("DELETE FROM ledger_entries WHERE job_id = $1", job.id)
            if at is not None:
                await moment.sql(
                    "UPDATE jobs SET id = darkroom_first_id_since($2) WHERE id = $1", job.id, at
                )
            else:
                await moment.sql("DELETE FROM jobs WHERE id = $1", job.id)
        assert (await moment.sample())["accepted"] == 1


async def test_percentiles_are_exact_over_the_jobs_that_ended_in_the_interval(
    setup: DatabaseSetup, moment: Moment
) -> None:
    jobs = [await setup.job_in(JobState.SUCCEEDED) for _ in range(4)]
    async with bounds(moment) as (begins, ends):
        for job, seconds in zip(jobs, (1, 2, 3, None), strict=True):
            at = begins if seconds is not None else ends
            await moment.ends_at(job, at)
            await moment.sql(
                "UPDATE jobs SET provider_finished_at = $2::timestamptz - $3 * interval '1 s',"
                " submitted_at = $2::timestamptz - $3 * interval '10 s',"
                " run_at = $2::timestamptz - $3 * interval '30 s',"
                " created_at = $2::timestamptz - $3 * interval '30 s' WHERE id = $1",
                job.id,
                at,
                float(seconds or 1_000),
            )
        row = await moment.sample()
    assert [row["lag_p50_seconds"], row["run_p50_seconds"], row["wait_p50_seconds"]] == [2, 20, 40]
    assert row["lag_p95_seconds"] == pytest.approx(2.9)
    assert row["wait_p95_seconds"] == pytest.approx(58)


async def test_a_lag_that_kie_does_not_tell_or_that_is_negative_is_not_invented(
    setup: DatabaseSetup, moment: Moment
) -> None:
    silent, ahead = [await setup.job_in(JobState.SUCCEEDED) for _ in range(2)]
    async with bounds(moment) as (begins, _):
        await moment.ends_at(silent, begins, provider_finished_at=None)
        assert (await moment.sample())["lag_p50_seconds"] is None
        await moment.sql("DELETE FROM history_samples")
        # Kie's clock is ahead of ours.
        await moment.ends_at(ahead, begins, provider_finished_at=begins.replace(year=2100))
        assert (await moment.sample())["lag_p50_seconds"] == 0


async def test_polls_are_the_difference_to_the_sample_of_the_interval_before(
    moment: Moment,
) -> None:
    await moment.worker_has_polled(1_000, id="aaaa", seconds_old=600)
    assert (await moment.sample())["polls"] is None, "nobody knows in which interval they were sent"
    await moment.pass_an_interval()
    await moment.worker_has_polled(1_040, id="aaaa")
    await moment.worker_has_polled(7, id="bbbb", seconds_old=1)
    assert (await moment.sample())["polls"] == 47, "a worker that has started since adds all of its"
    await moment.pass_an_interval()
    # Killed: what it last said stays. Another one is back after a pause without heartbeats.
    await moment.worker_has_polled(1_041, id="aaaa")
    await moment.worker_has_polled(500, id="cccc", seconds_old=3_600)
    assert (await moment.sample())["polls"] == 1
    await moment.pass_an_interval()
    await moment.pass_an_interval()
    await moment.worker_has_polled(2_000, id="aaaa")
    assert (await moment.sample())["polls"] is None, "an interval is missing in between"


async def test_kie_accounts_have_their_balance_while_it_is_fresh(moment: Moment) -> None:
    for name, seconds in (("east", 10.0), ("west", 200.0)):
        await moment.sql(
            "INSERT INTO provider_balance_checks (asked_at, at, balance, drift, unexplained,"
            " settled, verdict, provider_account) SELECT at, at, 12.5, 0, 0, true, 'first', $1"
            " FROM (SELECT now() - make_interval(secs => $2) AS at) AS moment",
            name,
            seconds,
        )
    row = await moment.sample({"east": {"budget_used": 3}, "west": {"budget_used": None}})
    assert row["kie_accounts"] == {
        "east": {"budget_used": 3, "balance": 12.5},
        "west": {"budget_used": None, "balance": None},
    }


async def test_old_samples_are_deleted_a_hundred_at_a_time_and_young_ones_stay(
    setup: DatabaseSetup, moment: Moment
) -> None:
    await moment.sample()
    await moment.sql(
        "INSERT INTO history_samples SELECT (jsonb_populate_record(one, jsonb_build_object("
        "   'interval_seconds', length, 'starts_at', date_bin(make_interval(secs => length), now(),"
        "   'epoch') - make_interval(secs => number * length)))).*"
        "  FROM history_samples AS one, (VALUES (15, 5800, 6150), (300, 2250, 2400))"
        "       AS kind (length, nearest, farthest), generate_series(nearest, farthest) AS number"
        " WHERE one.interval_seconds = length"
    )

    async def old() -> dict[int, int]:
        rows = await moment.sql(
            "SELECT interval_seconds, count(*) FROM history_samples WHERE starts_at < now() -"
            " CASE interval_seconds WHEN 15 THEN interval '25 h' ELSE interval '8 days' END"
            " GROUP BY interval_seconds"
        )
        return dict(map(tuple, rows))

    assert await old() == {SHORT: 151, LONG: 97}
    young = await moment.sql("SELECT count(*) FROM history_samples")
    await moment.sql(
        "DELETE FROM history_samples"
        " WHERE sampled_at = now() AND starts_at > now() - interval '1 h'"
    )
    await moment.sample()
    assert await old() == {SHORT: 51}
    left = await moment.sql("SELECT count(*) FROM history_samples")
    assert left[0][0] == young[0][0] - 100 - 97


async def test_the_totals_of_a_day_are_those_of_its_jobs_whichever_intervals_were_sampled(
    setup: DatabaseSetup, moment: Moment
) -> None:
    await setup.open_account("rich", 100_000)
    for number in range(24):
        state = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)[number % 3]
        job = await setup.job_in(state, account_id="rich")
        # Some of them on the day before, if this day is young.
        await moment.sql(
            "UPDATE jobs SET finished_at = now() - $2 * interval '7 min' WHERE id = $1",
            job.id,
            float(number),
        )
    await moment.sql(
        "INSERT INTO history_samples (interval_seconds, starts_at, queued, submitting, unknown,"
        " generating, held_for_review, oldest_waiting_seconds, accepted, submitted, succeeded,"
        " failed, cancelled, credits_held, credits_charged, polls_by_process, kie_accounts)"
        " SELECT 300, begins, 0, 0, 0, 0, 0, 0, 0, 0, measured.succeeded, measured.failed,"
        "        measured.cancelled, 0, measured.credits_charged, '{}', '{}'"
        "  FROM generate_series(1, 40) AS number,"
        "       LATERAL (SELECT date_bin('5 min', now(), 'epoch') - number * interval '5 min')"
        "           AS bin (begins),"
        "       LATERAL darkroom_measure_queue(begins, begins + interval '5 min') AS measured"
        "  WHERE number NOT IN (3, 4, 11, 30)"
    )
    wanted = await moment.sql(
        "SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded,"
        "       count(*) FILTER (WHERE state = 'failed') AS failed,"
        "       count(*) FILTER (WHERE state = 'cancelled') AS cancelled,"
        "       coalesce(sum(credits_charged), 0) AS credits_charged"
        "  FROM jobs WHERE finished_at >= date_trunc('day', now(), 'UTC')"
    )
    (told,) = await moment.sql(get_query("day_totals"))
    assert {name: told[name] for name in dict(wanted[0])} == dict(wanted[0])
    # The samples are used: what is wrong in one of them is wrong in the total.
    changed = await moment.sql(
        "UPDATE history_samples SET credits_charged = credits_charged + 1"
        " WHERE starts_at >= date_trunc('day', now(), 'UTC') RETURNING 1"
    )
    (told,) = await moment.sql(get_query("day_totals"))
    assert told["credits_charged"] == wanted[0]["credits_charged"] + len(changed)


async def test_a_day_on_which_nothing_was_sampled_is_counted_in_jobs(setup: DatabaseSetup) -> None:
    assert (await read_day_totals(setup.database)).credits_charged == 0
    await setup.job_in(JobState.SUCCEEDED)
    await setup.job_in(JobState.FAILED)
    totals = await read_day_totals(setup.database)
    assert (totals.succeeded, totals.failed, totals.cancelled) == (1, 1, 0)
    assert totals.credits_charged == Decimal(6)


@pytest.mark.promise("The history has samples of 15 s")
async def test_a_history_of_hours_has_short_intervals_and_one_of_days_long_ones(
    setup: DatabaseSetup,
) -> None:
    await setup.job_in(JobState.GENERATING)
    await setup.database.fetch("sample_history", {"default": {"budget": 20}})
    short, long = await read_history(setup.database, 2), await read_history(setup.database, 24)
    assert (short.interval_seconds, long.interval_seconds) == (SHORT, LONG)
    for history in (short, long):
        sample = history.samples[-1]
        assert (sample.generating, sample.credits_held) == (1, 6)
        assert sample.kie_accounts == {"default": {"budget": 20, "balance": None}}
    for hours in (0, -1, 169):
        with pytest.raises(InvalidRequest, match=f"hours: {hours} must be 1 to 168"):
            await read_history(setup.database, hours)


@pytest.mark.parametrize(
    ("column", "value"), [("interval_seconds", "60"), ("starts_at", "'2026-01-01 00:00:07Z'")]
)
async def test_a_row_that_is_no_interval_is_refused(
    setup: DatabaseSetup, column: str, value: str
) -> None:
    await setup.database.fetch("sample_history", {})
    with pytest.raises(asyncpg.CheckViolationError):
        await setup.database.pool.execute(f"UPDATE history_samples SET {column} = {value}")
