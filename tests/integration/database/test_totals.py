"""Margins and previews read totals of the past: the same figures as job by job, at any time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from producer import build_request
from producer.money.margins import MarginGroup
from shared.adapters.postgres.database import Database, connect_database
from shared.catalog import ImageRequest
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup

SUM = "SELECT darkroom_sum_settlements()"
PRICE = ("gpt-4o-image", "text-to-image", 1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
VARIANTS = ("1K", "4K")
TICK = timedelta(microseconds=1)
EDGES = [TODAY - timedelta(hours=hours) for hours in (72, 49, 48, 25, 24, 23, 3, 0)]
DELIVER_LATE = """
INSERT INTO late_tasks (job_id, attempt, provider_task_id, outcome, ended_at, result_urls,
                        provider_credits)
VALUES ($1, 1, $2, 'delivered', $3, '{https://images.example/late.png}', 7)
"""


def of_variant(resolution: str) -> ImageRequest:
    return build_request(
        "gpt-image-2", "text-to-image", prompt="x", resolution=resolution, aspect_ratio="16:9"
    )


async def make_random_history(setup: DatabaseSetup, random: Random) -> None:
    """Settle, refund and deliver late at random times, many just beside hours and midnights."""

    def random_time() -> datetime:
        near = random.choice(EDGES)
        return near + random.choice(
            (-TICK, 0 * TICK, TICK, timedelta(minutes=random.random() * 99))
        )

    await setup.open_account("other")
    await setup.sql("ALTER TABLE jobs DISABLE TRIGGER USER")
    await setup.sql("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
    for number in range(24):
        if number == 12:
            await setup.billing.price_changes.change(PRICE, Decimal(8), reason="why")
        variant = VARIANTS[number % 5] if number % 5 < len(VARIANTS) else None
        job = await setup.job_in(
            JobState.FAILED if number % 6 == 5 else JobState.SUCCEEDED,
            account_id=random.choice(("acme", "other")),
            request=None if variant is None else of_variant(variant),
        )
        await setup.sql("UPDATE jobs SET finished_at = $2 WHERE id = $1", job.id, random_time())
        if job.state is JobState.FAILED:
            await setup.sql(DELIVER_LATE, job.id, f"late-{number}", random_time())
        elif number % 3 == 0:
            (refund,) = await setup.sql("SELECT * FROM darkroom_refund_job($1, 'why', 2)", job.id)
            await setup.sql(
                "UPDATE ledger_entries SET created_at = $2 WHERE id = $1",
                refund["id"],
                random_time(),
            )


async def read_figures(setup: DatabaseSetup, periods: list[tuple[datetime, datetime]]) -> list[Any]:
    margins = [
        await setup.billing.margin(group, since, until, 1_000)
        for group in MarginGroup
        for since, until in periods
    ]
    changes = setup.billing.price_changes
    return [margins, await changes.preview(PRICE, Decimal(9), charge_basis="current")]


async def forget_totals(setup: DatabaseSetup) -> None:
    await setup.sql("UPDATE totals_progress SET hours_end = NULL, days_end = NULL")


async def test_a_variant_has_its_own_margin_with_its_refunds_and_late_images(
    setup: DatabaseSetup,
) -> None:
    small, large = [
        await setup.job_in(JobState.SUCCEEDED, request=of_variant(one)) for one in VARIANTS
    ]
    failed = await setup.job_in(JobState.FAILED, request=of_variant("1K"))
    await setup.job_in(JobState.SUCCEEDED)
    await setup.sql(DELIVER_LATE, failed.id, "late", datetime.now(UTC))
    await setup.sql("SELECT * FROM darkroom_refund_job($1, 'why', 2)", large.id)
    since = TODAY - timedelta(days=1)
    rows = await setup.billing.margin(MarginGroup.VARIANT, since, since + timedelta(days=3), 10)
    found = {row["name"]: row for row in rows}
    assert list(found) == ["gpt-image-2 1K", "gpt-image-2 4K", "gpt-4o-image"]
    one, four = found["gpt-image-2 1K"], found["gpt-image-2 4K"]
    assert (one["charged"], four["charged"]) == (small.credits_charged, large.credits_charged)
    assert (one["jobs"], one["uncharged_jobs"], one["uncharged_provider_credits"]) == (1, 1, 7)
    assert (four["jobs"], four["refunded"], four["margin"]) == (1, 2, -2)


@pytest.mark.parametrize("seed", range(3))
async def test_figures_with_totals_equal_those_of_every_job_for_any_period(
    setup: DatabaseSetup, seed: int
) -> None:
    random = Random(seed)
    await make_random_history(setup, random)
    times = [edge + random.choice((-TICK, 0 * TICK, TICK)) for edge in EDGES]
    periods = [(since, until) for since in times for until in times if since < until]
    periods += [
        (EDGES[0] - timedelta(days=9), TODAY + timedelta(days=2)),
        (times[3], times[3] + TICK),
    ]
    exact = await read_figures(setup, periods)
    charged = "SELECT sum(credits_charged) FROM jobs WHERE finished_at >= $1 AND finished_at < $2"
    for group in range(len(MarginGroup)):
        for place, period in enumerate(periods):
            rows = exact[0][group * len(periods) + place]
            assert sum(row["charged"] for row in rows) == (await setup.value(charged, *period) or 0)
    assert await setup.value("SELECT hours_end FROM totals_progress") is None
    calls = 1
    while await setup.value(SUM):
        # Totals of a part of the past.
        assert await read_figures(setup, periods) == exact
        calls += 1
    assert calls >= 3
    assert await setup.value("SELECT days_end FROM totals_progress") == TODAY
    assert await setup.value("SELECT sum(jobs) FROM hourly_totals") > 5
    assert await read_figures(setup, periods) == exact
    assert "totals equal their jobs" not in await setup.broken_invariants()
    # Without their rows, the same figures are read from jobs: the totals were in use.
    await setup.sql("DELETE FROM hourly_totals")
    assert await read_figures(setup, periods) != exact
    assert "totals equal their jobs" in await setup.broken_invariants()
    await forget_totals(setup)
    assert await read_figures(setup, periods) == exact
    while await setup.value(SUM):
        pass
    assert await read_figures(setup, periods) == exact
    assert "totals equal their jobs" not in await setup.broken_invariants()


async def test_a_transaction_that_is_still_open_is_waited_for(
    setup: DatabaseSetup, database_url: str
) -> None:
    """Its settlement has the time of its beginning, and is seen only when it ends."""
    job = await setup.job_in(JobState.GENERATING)
    ended = await setup.job_in(JobState.SUCCEEDED)
    await setup.sql("ALTER TABLE jobs DISABLE TRIGGER USER")
    await setup.sql(
        "UPDATE jobs SET finished_at = now() - interval '3 days' WHERE id = $1", ended.id
    )
    async with connect_database(database_url, connections=1) as other:
        async with other.pool.acquire() as connection, connection.transaction():
            # It has read nothing and written nothing: it has no id of its own yet.
            await connection.fetchval("SELECT 1")
            await sum_all(setup.database)
            await setup.sql("UPDATE totals_progress SET marked_at = now()")
            await sum_all(setup.database)
            assert await setup.value("SELECT count(*) FROM hourly_totals") == 0
            await connection.execute(
                "UPDATE jobs SET state = 'succeeded', credits_charged = 6,"
                " charge_basis = 'current', price_id = quoted_price_id, result_urls = '{https://images.example/1.png}',"
                " finished_at = $2 WHERE id = $1",
                job.id,
                TODAY - timedelta(days=2),
            )
            await sum_all(setup.database)
            assert await setup.value("SELECT count(*) FROM hourly_totals") == 0
        await sum_all(setup.database)
    assert await setup.value("SELECT sum(jobs) FROM hourly_totals") == 2
    assert await setup.value("SELECT sum(jobs) FROM daily_account_totals") == 2


async def test_one_of_several_workers_writes_totals_and_the_others_do_not_wait(
    setup: DatabaseSetup, database_url: str
) -> None:
    await setup.job_in(JobState.SUCCEEDED)
    async with (
        connect_database(database_url, connections=1) as other,
        other.pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.fetchval("SELECT hours_end FROM totals_progress FOR UPDATE")
        assert await setup.value(SUM) is False


async def sum_all(database: Database) -> None:
    while await database.pool.fetchval(SUM):
        pass
