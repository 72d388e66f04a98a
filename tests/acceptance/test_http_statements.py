"""Statements, lists of accounts and the margin over HTTP."""

from __future__ import annotations

import csv
import io

import pytest

from tests.support.deployment import Deployment, text_to_image

STATEMENT = "/v1/accounts/acme/statement"


async def test_a_statement_adds_up_and_its_csv_has_the_same_lines(deployment: Deployment) -> None:
    billing = deployment.producer.billing
    async with deployment.worker():
        job = await deployment.ended(await deployment.enqueue(text_to_image(quantity=2)))
    await billing.refund(job.id, reason='=HYPERLINK("http://evil.example")')
    async with deployment.api() as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        statement = (await api.get(STATEMENT)).expect(200)
        page = (await api.get(STATEMENT, limit=1)).expect(200)
        rest = (await api.get(STATEMENT, limit=9, cursor=page["next_cursor"])).expect(200)
        text = (await api.send("GET", f"{STATEMENT}.csv")).text
    assert set(statement) == set(schemas["Statement"]["properties"])
    assert set(statement["entries"][0]) == set(schemas["StatementLine"]["properties"])
    assert [one["kind"] for one in statement["entries"]] == ["grant", "capture", "refund"]
    assert statement["totals"] == {"grant": 10_000, "refund": 7, "adjustment": 0, "capture": -7}
    assert (statement["opening_balance"], statement["closing_balance"]) == (0, 10_000)
    assert [*page["entries"], *rest["entries"]] == statement["entries"]
    assert (statement["next_cursor"], rest["next_cursor"]) == (None, None)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["kind"], float(row["credits"])) for row in rows] == [
        (one["kind"], one["credits"]) for one in statement["entries"]
    ]
    # A spreadsheet must not run what somebody typed.
    assert rows[2]["reason"] == '\'=HYPERLINK("http://evil.example")'


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"from": "yesterday"}, {"from"}),
        ({"from": "2026-01-01T00:00:00"}, {"from"}),
        ({"from": "2026-02-01", "to": "2026-01-01"}, {"to"}),
        ({"until": "2026-01-01"}, {"until"}),
        ({"from": "2026-02-30", "limit": 0}, {"from", "limit"}),
    ],
)
async def test_a_period_that_is_none_is_refused(
    deployment: Deployment, query: dict[str, object], fields: set[str]
) -> None:
    async with deployment.api() as api:
        assert set((await api.get(STATEMENT, **query)).faults()) == fields
        (await api.get("/v1/accounts/nobody/statement")).expect(404)
        for ends in ({"from": "9998-12-31"}, {"to": "0002-01-01"}, {"cursor": 2**63 - 1}):
            assert (await api.get(STATEMENT, **ends)).expect(200)["entries"] == []
        for ends in ({"from": "9999-12-31"}, {"to": "0001-01-01"}):
            assert set((await api.get(STATEMENT, **ends)).faults()) == set(ends)


@pytest.mark.promise("`statement.csv` has at most 20,000 lines.")
async def test_a_statement_that_is_too_long_for_csv_is_refused(deployment: Deployment) -> None:
    await deployment.run_sql(
        "INSERT INTO ledger_entries (account_id, kind, credits, balance_change, held_change,"
        " balance_after, held_after, reason)"
        " SELECT 'acme', 'grant', 1, 1, 0, 10000 + n, 0, 'one of many'"
        "   FROM generate_series(1, 20000) AS n"
    )
    async with deployment.api() as api:
        problem = await api.get(f"{STATEMENT}.csv")
        assert problem.faults() == {
            "from": "has 20,001 lines, at most 20,000 fit: shorten the period"
        }
        assert (await api.get(STATEMENT, limit=1)).expect(200)["lines"] == 20_001


async def test_accounts_are_listed_by_id_page_by_page(deployment: Deployment) -> None:
    for name in ("bolt", "zebra", "corp"):
        await deployment.producer.billing.create_account(name)
    async with deployment.api() as api:
        first = (await api.get("/v1/accounts", limit=3)).expect(200)
        rest = (await api.get("/v1/accounts", limit=3, cursor=first["next_cursor"])).expect(200)
    names = [one["id"] for one in (*first["accounts"], *rest["accounts"])]
    assert names == ["acme", "bolt", "corp", "zebra"]
    assert rest["next_cursor"] is None


async def test_the_margin_is_what_is_left_after_kie_and_refunds(deployment: Deployment) -> None:
    billing = deployment.producer.billing
    await deployment.run_sql("UPDATE pricing SET credits = 10 WHERE quantity = 2")
    async with deployment.worker():
        jobs = [await deployment.enqueue(text_to_image(quantity=count)) for count in (2, 2, 1)]
        ended = [await deployment.ended(job) for job in jobs]
    await billing.refund(ended[0].id, reason="blurred")
    async with deployment.api() as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        for group in ("day", "model", "account"):
            found = (await api.get("/v1/margin", by=group)).expect(200)
            (row,) = found["margin"]
            assert set(row) == set(schemas["MarginRow"]["properties"])
            assert (row["jobs"], row["charged"], row["refunded"]) == (3, 26, 10)
            assert (row["provider_credits"], row["margin"]) == (20, -4)
        assert set((await api.get("/v1/margin", by="week")).faults()) == {"by"}
    assert row["name"] == "acme"
