"""The worker has the queue sampled, tells of its Kie accounts, and outlives both servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis

from shared.adapters.monitoring.kie_account_limits import read_kie_account_limits
from shared.adapters.monitoring.queue_snapshot import read_snapshot
from shared.adapters.postgres.database import Database
from shared.domain.kie_outcomes import Accepted, Delivered, Pending
from shared.domain.lifecycle import Reason
from shared.errors import PostgresDown
from shared.kie_accounts import DEFAULT_ACCOUNT
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.deployment import eventually
from worker.history_sampler import (
    DELAY_SECONDS,
    INTERVAL_SECONDS,
    SPREAD_SECONDS,
    HistorySampler,
)
from worker.limits.throttle import Throttle, submit_limit
from worker.store.job_store import JobStore

BUDGET = 20


async def newest(database: Database) -> dict[str, Any]:
    (row,) = await database.fetch("read_history", 15, 3_600.0)
    return dict(row)


async def test_a_sample_has_the_budget_and_the_brake_of_each_kie_account(
    setup: WorkerSetup,
) -> None:
    limited = setup.with_settings(kie_submits_per_10_seconds=BUDGET)
    throttle = Throttle(setup.deps.scripts, submit_limit(BUDGET, 30))
    (account,) = setup.deps.accounts
    for _ in range(3):
        async with throttle.permit(account.throttle_name):
            pass
    await account.brake.apply(Reason.ACCOUNT_REFUSED, "402: no credits")
    assert set(await HistorySampler(limited.deps, setup.redis).sample()) == {15, 300}
    assert (await newest(setup.database))["kie_accounts"] == {
        DEFAULT_ACCOUNT: {
            "budget": BUDGET,
            "budget_used": 3,
            "brake_level": 1,
            "is_paused": True,
            "submit_rate": BUDGET,
            "balance": None,
        }
    }
    assert await HistorySampler(limited.deps, setup.redis).sample() in ([], [15])
    await account.brake.slow_down(BUDGET, Reason.RATE_LIMITED, "429", under_way_seconds=0)
    (limits,) = (await read_kie_account_limits(setup.redis, [DEFAULT_ACCOUNT])).values()
    assert limits.rate_in_force == 14


async def test_without_redis_the_queue_is_sampled_and_kie_accounts_are_unknown(
    setup: WorkerSetup,
) -> None:
    await setup.enqueue()
    away = Redis(host="127.0.0.1", port=1)
    assert await HistorySampler(setup.deps, away).sample()
    row = await newest(setup.database)
    assert row["queued"] == 1
    assert row["kie_accounts"][DEFAULT_ACCOUNT] == {
        **dict.fromkeys(("budget_used", "brake_level", "is_paused", "submit_rate", "balance")),
        "budget": 0,
    }


async def test_a_worker_whose_redis_is_another_one_does_not_speak_of_its_limits(
    setup: WorkerSetup,
) -> None:
    stranger = setup.with_deps(may_claim=lambda: False)
    assert await HistorySampler(stranger.deps, setup.redis).sample()
    row = await newest(setup.database)
    assert row["kie_accounts"][DEFAULT_ACCOUNT]["brake_level"] is None


async def test_calls_come_after_each_interval_and_are_spread(setup: WorkerSetup) -> None:
    offsets = set()
    for _ in range(20):
        sampler = HistorySampler(setup.deps, setup.redis)
        waits = sampler.seconds_to_next()
        assert 0 < waits <= INTERVAL_SECONDS
        offset = (setup.clock.now().timestamp() + waits) % INTERVAL_SECONDS
        assert DELAY_SECONDS - 0.1 <= offset <= DELAY_SECONDS + SPREAD_SECONDS + 0.1
        offsets.add(round(offset))
        setup.clock.advance(7.7)
    assert len(offsets) > 1


class Counting:
    """Queries that are counted, and fail as long as a test likes."""

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


class FastSampler(HistorySampler):
    """Samples every few milliseconds."""

    def seconds_to_next(self) -> float:
        return 0.005


async def test_a_sampler_outlives_an_outage_of_postgres(
    setup: WorkerSetup, redis: ArqRedis
) -> None:
    queries = Counting(setup.database)
    queries.error = PostgresDown("it is away")
    deps = setup.with_deps(store=JobStore(queries)).deps

    async def has_failed() -> bool:
        return queries.calls["sample_history"] >= 2

    async def has_sampled() -> bool:
        return bool(await setup.database.fetch("read_history", 15, 3_600.0))

    async with FastSampler(deps, redis):
        await eventually(has_failed, "two calls have failed")
        assert not await has_sampled()
        queries.error = None
        await eventually(has_sampled, "a sample was written")


async def test_one_call_is_one_statement_for_any_first_caller(setup: WorkerSetup) -> None:
    queries = Counting(setup.database)
    deps = setup.with_deps(store=JobStore(queries)).deps
    samplers = [HistorySampler(deps, setup.redis) for _ in range(8)]
    told = await asyncio.gather(*(one.sample() for one in samplers))
    assert queries.calls == {"sample_history": 8}
    assert sum(300 in one for one in told) == 1


@pytest.mark.parametrize("polls", [0, 3])
async def test_a_worker_counts_the_polls_that_it_sends(setup: WorkerSetup, polls: int) -> None:
    setup.kie.submits.append(Accepted("task-1"))
    setup.kie.polls.extend([Pending(0.1)] * polls)
    job = await setup.enqueue()
    await setup.submit(job)
    for _ in range(polls):
        await setup.poll(job)
    assert setup.deps.metrics.polls == polls


@pytest.mark.parametrize("seconds", [0.5, None])
async def test_a_success_stores_when_kie_was_done(
    setup: WorkerSetup, seconds: float | None
) -> None:
    done_at = setup.clock.now() - timedelta(seconds=seconds) if seconds else None
    setup.kie.submits.append(Accepted("task-1"))
    setup.kie.polls.append(Delivered(("https://example.com/1.png",), done_at))
    job = await setup.enqueue()
    await setup.submit(job)
    await setup.poll(job)
    (row,) = await setup.sql("SELECT state, provider_finished_at FROM jobs")
    assert row == {"state": "succeeded", "provider_finished_at": done_at}
    snapshot = await read_snapshot(setup.database)
    if done_at is None:
        assert snapshot.lag_p50_seconds is None
    else:
        assert snapshot.lag_p50_seconds == pytest.approx(0.5, abs=5)
