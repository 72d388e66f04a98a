"""Statements: periods join without a gap, whatever the ids and times of their entries."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from producer.money.statements import lines_to_csv
from shared.domain.lifecycle import JobState
from shared.errors import AccountNotFound, InvalidRequest
from tests.integration.database.database_setup import DatabaseSetup

START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = [START.replace(month=month) for month in range(1, 13)] + [START.replace(year=2027)]


async def write_entries(setup: DatabaseSetup, seed: int, count: int) -> list[datetime]:
    """Write grants of two accounts over a year, in the order of their times; return acme's."""
    dice = random.Random(seed)
    times = sorted(START + timedelta(seconds=dice.randrange(365 * 86_400)) for _ in range(count))
    names = [dice.choice(("acme", "other")) for _ in times]
    await setup.sql(
        "INSERT INTO ledger_entries (account_id, kind, credits, balance_change, held_change,"
        " balance_after, held_after, reason, created_at)"
        " SELECT name, 'grant', 1, 1, 0, row_number() OVER (PARTITION BY name ORDER BY place), 0,"
        "        'x', at"
        "   FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS a (name, at, place)"
        "  ORDER BY place",
        names,
        times,
    )
    return [at for at, name in zip(times, names, strict=True) if name == "acme"]


@pytest.fixture
async def empty(setup: DatabaseSetup) -> DatabaseSetup:
    """The same database, whose ledger is empty."""
    await setup.open_account("other", 0)
    await setup.sql("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
    await setup.sql("DELETE FROM ledger_entries")
    return setup


@pytest.mark.parametrize(("seed", "count"), [(1, 400), (2, 30), (3, 1), (4, 0)])
async def test_months_join_and_count_what_lies_in_them(
    empty: DatabaseSetup, seed: int, count: int
) -> None:
    times = await write_entries(empty, seed, count)
    closing = Decimal(0)
    for since, until in pairwise(YEAR):
        statement = await empty.billing.statement("acme", since, until)
        inside = [at for at in times if since <= at < until]
        assert statement.lines == len(inside)
        assert statement.opening_balance == closing
        closing = statement.closing_balance
        assert closing == statement.opening_balance + len(inside)
        lines = await empty.billing.statement_lines(statement, limit=1_000)
        assert [line["created_at"] for line in lines] == inside
    whole = await empty.billing.statement("acme", YEAR[0], YEAR[-1])
    assert whole.closing_balance == closing == len(times)
    assert sum(month.lines for month in whole.months) == len(times)
    assert [month.month for month in whole.months] == sorted({f"{at:%Y-%m}" for at in times})


async def test_every_kind_has_its_total_and_months_lead_to_the_closing_balance(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    await setup.job_in(JobState.FAILED)
    await setup.enqueue()
    await setup.billing.refund(job.id, Decimal(2), reason="blurred")
    await setup.billing.grant("acme", Decimal(-5), "a mistake")
    now = datetime.now(UTC)
    statement = await setup.billing.statement(
        "acme", now - timedelta(days=1), now + timedelta(days=1)
    )
    assert statement.totals == {"grant": 1_000, "refund": 2, "adjustment": -5, "capture": -6}
    assert statement.closing_balance == (await setup.money())[0] == 991
    assert statement.months[-1].closing_balance == 991


async def test_a_statement_of_nobody_and_of_no_time_is_refused(setup: DatabaseSetup) -> None:
    with pytest.raises(AccountNotFound):
        await setup.billing.statement("nobody", YEAR[0], YEAR[1])
    for until in (YEAR[0], YEAR[0] - timedelta(seconds=1)):
        with pytest.raises(InvalidRequest, match="after `from`"):
            await setup.billing.statement("acme", YEAR[0], until)


@pytest.mark.parametrize("typed", ["=1+1", "+49", "-2", "@SUM(A1)", "\tx", "\r=1", "\n=1"])
def test_no_text_of_a_cell_is_run_by_a_spreadsheet(typed: str) -> None:
    line = dict.fromkeys(("job_id", "model", "task", "quantity", "variant"))
    text = lines_to_csv(
        [
            {
                **line,
                "id": 1,
                "created_at": START,
                "kind": "grant",
                "credits": Decimal("-2.50"),
                "balance_after": Decimal(7),
                "reason": typed,
            }
        ]
    )
    assert f"'{typed}" in text
    assert ",-2.50,7," in text
