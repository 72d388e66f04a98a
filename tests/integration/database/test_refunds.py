"""Refunds: what a job was charged is given back once, whole or in part, and the books add up."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import uuid4

import orjson
import pytest

from shared.adapters.postgres.database import connect_database
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused
from tests.integration.database.database_setup import DatabaseSetup

REFUND = "SELECT * FROM darkroom_refund_job($1, $2, $3, $4::text::jsonb)"
MARIA = orjson.dumps({"actor": "maria", "via": "cli", "is_operator": True}).decode()


@pytest.mark.parametrize(("asked", "given"), [(None, 6), (6, 6), (2, 2), (Decimal("0.5"), 0.5)])
async def test_a_refund_is_an_adjustment_that_cites_its_job(
    setup: DatabaseSetup, asked: object, given: float
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    (entry,) = await setup.sql(REFUND, job.id, " blurred ", asked, MARIA)
    assert (entry["kind"], entry["job_id"], entry["credits"]) == ("adjustment", job.id, given)
    assert (entry["price_id"], entry["reason"]) == (job.price_id, "blurred")
    assert await setup.money() == (1_000 - 6 + Decimal(str(given)), 0)
    assert (await setup.book.get(job.id)).credits_charged == 6
    noted = (await setup.billing.audit(limit=1))[0]
    assert (noted["act"], noted["actor"], noted["job_id"]) == ("job_refunded", "maria", job.id)
    assert noted["reason"] == "blurred"
    assert await setup.broken_invariants() == {}


async def test_a_job_is_refunded_once_also_in_part(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    await setup.sql(REFUND, job.id, "why", 2, None)
    for credits in (None, 1, 4):
        refusal = await setup.refuses(REFUND, job.id, "why", credits, None)
        assert refusal.constraint == "a_job_is_refunded_once"
        assert "was refunded already: 2 credits at " in str(refusal)


async def test_of_many_refunds_at_once_one_is_made(setup: DatabaseSetup, database_url: str) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    async with connect_database(database_url, connections=6) as database:
        results = await asyncio.gather(
            *(database.pool.fetch(REFUND, job.id, "why", None, None) for _ in range(12)),
            return_exceptions=True,
        )
    assert sum(isinstance(one, list) for one in results) == 1
    assert {getattr(one, "constraint_name", "") for one in results} == {
        "",
        "a_job_is_refunded_once",
    }
    assert await setup.money() == (1_000, 0)
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("credits", ["6.01", "0", "-1", "NaN", "Infinity", "1.001"])
async def test_not_more_than_the_charge_and_no_odd_number(
    setup: DatabaseSetup, credits: str
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    refusal = await setup.refuses(REFUND, job.id, "why", Decimal(credits), None)
    assert refusal.constraint == "a_refund_is_at_most_the_charge"


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.SUCCEEDED}))
async def test_what_was_charged_nothing_is_not_refunded(
    setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state)
    refusal = await setup.refuses(REFUND, job.id, "why", None, None)
    assert refusal.constraint == "only_a_charge_is_refunded"


async def test_a_free_job_is_not_refunded(setup: DatabaseSetup) -> None:
    await setup.set_price(0)
    job = await setup.job_in(JobState.SUCCEEDED)
    assert "nothing to refund" in str(await setup.refuses(REFUND, job.id, "why", None, None))


async def test_a_refund_needs_a_reason_and_a_job(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    for reason in ("", "  ", None):
        assert "needs a reason" in str(await setup.refuses(REFUND, job.id, reason, None, None))
    assert await setup.sql(REFUND, uuid4(), "why", None, None) == []


async def test_even_without_the_function_a_second_refund_cannot_be_written(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    await setup.sql(REFUND, job.id, "why", None, None)
    with pytest.raises(DatabaseRefused) as caught:
        await setup.sql(
            "INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change,"
            " held_change, balance_after, held_after, reason)"
            " VALUES ('acme', $1, 'adjustment', 1, 1, 0, 1, 0, 'again')",
            job.id,
        )
    assert caught.value.constraint == "ledger_entries_one_of_each_kind_per_job"
