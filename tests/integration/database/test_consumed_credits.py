"""What Kie says that a task cost is kept beside the price, and decides margins, never charges."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from producer.money.margins import MarginGroup
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused, StaleJob
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.example_jobs import polled

URLS = ("https://images.example/1.png",)


async def settle(setup: DatabaseSetup, job: Job, consumed: Decimal | None) -> Any:
    event = job_events.Completed(URLS, consumed_credits=consumed)
    return await setup.store.settle(polled(job), event, "current")


async def generating(setup: DatabaseSetup) -> Job:
    return await setup.job_in(JobState.GENERATING)


async def consumed_of(setup: DatabaseSetup, job: Job) -> Decimal | None:
    value = await setup.value("SELECT consumed_credits FROM jobs WHERE id = $1", job.id)
    return None if value is None else Decimal(value)


async def cost_in_margin(setup: DatabaseSetup) -> Decimal:
    since = datetime.now(UTC) - timedelta(hours=1)
    [row] = await setup.billing.margin(MarginGroup.MODEL, since, since + timedelta(hours=2), 10)
    assert row["margin"] == row["charged"] - row["provider_credits"]
    return Decimal(row["provider_credits"])


@pytest.mark.parametrize("consumed", ["0", "5", "6", "10.5"])
async def test_kies_own_charge_decides_the_margin_and_not_what_the_account_pays(
    setup: DatabaseSetup, consumed: str
) -> None:
    job = await generating(setup)
    settled = await settle(setup, job, Decimal(consumed))
    assert settled.credits_charged == 6
    assert await consumed_of(setup, job) == Decimal(consumed)
    assert await cost_in_margin(setup) == Decimal(consumed)
    assert await setup.money() == (994, 0)
    assert await setup.broken_invariants() == {}


async def test_without_kies_word_the_price_says_what_the_task_cost(setup: DatabaseSetup) -> None:
    job = await generating(setup)
    await settle(setup, job, None)
    assert await consumed_of(setup, job) is None
    assert await cost_in_margin(setup) == 6


async def test_jobs_that_are_settled_together_keep_each_its_own(setup: DatabaseSetup) -> None:
    consumed = [Decimal(5), None, Decimal("0.4"), Decimal(16)]
    jobs = [await generating(setup) for _ in consumed]
    await asyncio.gather(*map(settle, [setup] * 4, jobs, consumed))
    assert [await consumed_of(setup, job) for job in jobs] == consumed
    assert await cost_in_margin(setup) == Decimal("27.4")
    assert await setup.money() == (976, 0)


async def test_a_second_answer_of_kie_changes_nothing(setup: DatabaseSetup) -> None:
    job = await generating(setup)
    await settle(setup, job, Decimal(5))
    before = await setup.snapshot()
    with pytest.raises(StaleJob):
        await settle(setup, job, Decimal(9))
    assert await setup.snapshot() == before


@pytest.mark.parametrize("consumed", ["-1", "1000000.01"])
async def test_a_number_that_is_no_charge_is_refused_with_the_whole_settlement(
    setup: DatabaseSetup, consumed: str
) -> None:
    job = await generating(setup)
    before = await setup.snapshot()
    with pytest.raises(DatabaseRefused) as caught:
        await settle(setup, job, Decimal(consumed))
    assert caught.value.constraint == "consumed_credits_must_be_0_to_1000000"
    assert await setup.snapshot() == before


async def test_the_expected_balance_at_kie_follows_what_kie_says(setup: DatabaseSetup) -> None:
    said, unsaid = await generating(setup), await generating(setup)
    await settle(setup, said, Decimal("5.5"))
    await settle(setup, unsaid, None)
    rows = await setup.database.fetch(
        "attempts_that_may_cost", datetime.now(UTC) - timedelta(hours=1), 60.0, "default"
    )
    assert sorted(row["credits"] for row in rows) == [Decimal("5.5"), Decimal(6)]
