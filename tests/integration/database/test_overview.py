"""The overview: one read for all who ask at once, also without Redis, for every Kie account."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from producer.monitoring.overview import CACHE_SECONDS, OverviewReader, overview_to_json
from shared.adapters.monitoring.alert_monitor import read_alerts
from shared.adapters.postgres.database import Database
from shared.domain.lifecycle import JobState
from shared.errors import PostgresDown
from tests.integration.database.database_setup import DatabaseSetup

NAMES = ("default",)


class CountedQueries:
    """Counts queries, and fails them as long as a test likes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.error: Exception | None = None
        self.calls: Counter[str] = Counter()

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        self.calls[query] += 1
        if self.error is not None:
            raise self.error
        return await self._database.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None


class Hand:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def reader_of(queries: CountedQueries, clock: Hand) -> OverviewReader:
    away = Redis(host="127.0.0.1", port=1)
    alerts = partial(read_alerts, queries, away, NAMES)
    return OverviewReader(queries, away, NAMES, alerts, monotonic=clock)


async def test_without_redis_the_figures_are_there_and_what_redis_has_is_unknown(
    setup: DatabaseSetup,
) -> None:
    for state in (JobState.QUEUED, JobState.GENERATING, JobState.FAILED):
        await setup.job_in(state)
    overview = await reader_of(CountedQueries(setup.database), Hand()).read()
    assert overview.redis_error is not None
    assert (overview.snapshot.queued, overview.snapshot.in_flight) == (1, 1)
    assert [one.reason for one in overview.failures] == ["provider_failed"]
    (account,) = overview.accounts
    assert (account.budget_used, account.pause, account.budget) == (None, None, None)
    assert "no_worker" in {alert.name for alert in overview.alerts}
    told = overview_to_json(overview)
    assert told["kie_accounts"][0]["budget_used"] is None
    assert told["today"]["failed"] == 1


async def test_all_readers_within_a_second_share_one_read(setup: DatabaseSetup) -> None:
    queries, clock = CountedQueries(setup.database), Hand()
    reader = reader_of(queries, clock)
    first = await asyncio.gather(*(reader.read() for _ in range(5)))
    assert queries.calls["queue_snapshot"] == 1
    await setup.job_in(JobState.QUEUED)
    assert (await reader.read()).snapshot == first[0].snapshot
    clock.seconds += CACHE_SECONDS
    assert (await reader.read()).snapshot.queued == 1
    assert queries.calls["queue_snapshot"] == 2


async def test_after_an_outage_the_figures_are_read_anew(setup: DatabaseSetup) -> None:
    queries, clock = CountedQueries(setup.database), Hand()
    reader = reader_of(queries, clock)
    await reader.read()
    clock.seconds += CACHE_SECONDS
    queries.error = PostgresDown("it is away")
    with pytest.raises(PostgresDown):
        await reader.read()
    queries.error = None
    await setup.job_in(JobState.QUEUED)
    assert (await reader.read()).snapshot.queued == 1


async def test_kie_accounts_are_those_of_the_settings_and_of_live_workers(
    setup: DatabaseSetup,
) -> None:
    await setup.sql(
        "INSERT INTO processes (id, kind, name, version, redis, limits, key_fingerprints,"
        " stopped_at, seen_at, started_at)"
        " SELECT gen_random_uuid(), kind, key, '1', 'r', jsonb_build_object("
        "   'KIE_SUBMITS_PER_10_SECONDS', submits), jsonb_build_object(key, 'f'), stopped_at,"
        "   now() - age, now() - interval '1 hour'"
        "  FROM (VALUES ('worker', 'east', 12, NULL::timestamptz, interval '0'),"
        "               ('worker', 'stopped', 1, now(), interval '0'),"
        "               ('worker', 'lost', 2, NULL, interval '1 min'),"
        "               ('api', 'none', 3, NULL, interval '0'))"
        "       AS process (kind, key, submits, stopped_at, age)"
    )
    overview = await reader_of(CountedQueries(setup.database), Hand()).read()
    assert {one.name: one.budget for one in overview.accounts} == {"default": 12, "east": 12}
