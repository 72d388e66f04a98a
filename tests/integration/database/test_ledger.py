"""Accounts and their append-only ledger: grants have a reason, and no entry is rewritten."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import uuid4

import pytest

from producer import AccountNotFound
from shared.domain.lifecycle import JobState
from shared.errors import AlreadyExists, DatabaseRefused, PostgresDown
from tests.integration.database.database_setup import DatabaseSetup

APPEND_ONLY = (
    "The ledger is append-only: mend a mistake by an adjustment,"
    " SELECT grant_credits(account, credits, reason)."
)
WRITE = (
    "INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,"
    " balance_after, held_after, price_id, reason)"
    " VALUES ('acme', $1, $2, $3, $4, $5, 0, 0, $6, $7)"
)


async def test_an_account_begins_empty_and_is_created_once(setup: DatabaseSetup) -> None:
    account = await setup.billing.create_account("new")
    assert (account.balance, account.held, account.available) == (0, 0, 0)
    assert account.created_at.tzinfo is not None
    with pytest.raises(AlreadyExists, match="an account 'new' exists already"):
        await setup.billing.create_account("new")
    assert await setup.billing.account("new") == account


async def test_a_name_that_cannot_be_read_out_is_refused(setup: DatabaseSetup) -> None:
    rule = "account_id_must_be_1_to_200_printable_characters"
    for name in ("", " ", "two words", "tab\there", "x" * 201, "\x07"):
        with pytest.raises(DatabaseRefused, match=rule):
            await setup.billing.create_account(name)


async def test_a_grant_adds_credits_with_its_reason(setup: DatabaseSetup) -> None:
    account = await setup.billing.grant("acme", Decimal("0.25"), "  invoice 17 ")
    assert (account.balance, account.available) == (Decimal("1000.25"), Decimal("1000.25"))
    newest, first = await setup.billing.ledger("acme", None, 10)
    assert (newest["kind"], newest["credits"], newest["reason"]) == (
        "grant",
        Decimal("0.25"),
        "invoice 17",
    )
    assert (newest["balance_after"], newest["held_after"]) == (Decimal("1000.25"), 0)
    assert (first["kind"], first["credits"], newest["job_id"]) == ("grant", 1_000, None)


async def test_credits_taken_away_are_an_adjustment(setup: DatabaseSetup) -> None:
    assert (await setup.billing.grant("acme", Decimal(-1), "a mistake")).balance == 999
    assert (await setup.billing.ledger("acme", None, 1))[0]["kind"] == "adjustment"
    assert await setup.broken_invariants() == {}


async def test_a_grant_of_nonsense_is_refused(setup: DatabaseSetup) -> None:
    for credits in ("0", "NaN", "Infinity", "-Infinity", "1000000001"):
        refusal = await setup.refuses("SELECT grant_credits('acme', $1, 'why')", Decimal(credits))
        assert "credits must be a number other than 0, at most 1000000000" in str(refusal)


async def test_a_grant_without_reason_credits_or_account_is_refused(setup: DatabaseSetup) -> None:
    for reason in ("NULL", "''", "'  '"):
        refusal = await setup.refuses(f"SELECT grant_credits('acme', 1, {reason})")
        assert str(refusal) == "a grant needs a reason"
    await setup.refuses("SELECT grant_credits('acme', NULL, 'why')")
    with pytest.raises(AccountNotFound, match="darkroom accounts create nobody"):
        await setup.billing.grant("nobody", Decimal(1), "why")


async def test_grants_at_once_all_arrive_and_the_entries_form_a_chain(setup: DatabaseSetup) -> None:
    await asyncio.gather(*(setup.billing.grant("acme", Decimal(n), "many") for n in range(1, 31)))
    assert await setup.money() == (1_000 + sum(range(1, 31)), 0)
    balance = Decimal(0)
    for entry in reversed(await setup.billing.ledger("acme", None, 100)):
        balance += entry["credits"]
        assert entry["balance_after"] == balance
    assert await setup.broken_invariants() == {}


async def test_the_ledger_is_read_in_pages_newest_first(setup: DatabaseSetup) -> None:
    for n in range(1, 5):
        await setup.billing.grant("acme", Decimal(n), "paged")
    first = await setup.billing.ledger("acme", None, 3)
    second = await setup.billing.ledger("acme", first[-1]["id"], 3)
    assert [entry["credits"] for entry in first + second] == [4, 3, 2, 1, 1_000]
    with pytest.raises(AccountNotFound):
        await setup.billing.ledger("nobody", None, 3)


async def test_the_ledger_is_append_only(setup: DatabaseSetup) -> None:
    await setup.job_in(JobState.SUCCEEDED)
    for statement in (
        "UPDATE ledger_entries SET credits = 1",
        "UPDATE ledger_entries SET reason = 'better'",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
    ):
        refusal = await setup.refuses(statement)
        assert f"{statement.partition(' ')[0]} on ledger_entries is refused" in str(refusal)
        assert refusal.hint == APPEND_ONLY


async def test_an_entry_that_contradicts_its_kind_is_refused(setup: DatabaseSetup) -> None:
    job = await setup.enqueue()
    for kind, has_job, numbers, reason, constraint in (
        ("gift", False, (1, 1, 0), "why", "kind_must_be_known"),
        ("grant", True, (1, 1, 0), "why", "job_kinds_have_a_job"),
        ("hold", False, (1, 0, 1), None, "job_kinds_have_a_job"),
        ("adjustment", True, (-1, -1, 0), "why", "job_kinds_have_a_job"),
        ("grant", False, (1, 1, 0), "", "an_adjustment_has_a_reason"),
        ("grant", False, (1, 1, 0), None, "an_adjustment_has_a_reason"),
        ("grant", False, (-1, -1, 0), "why", "credits_fit_the_kind"),
        ("grant", False, (1, 2, 0), "why", "credits_fit_the_kind"),
        ("adjustment", False, (0, 0, 0), "why", "credits_fit_the_kind"),
        ("hold", True, (1, 1, 1), None, "credits_fit_the_kind"),
        ("release", True, (1, 0, 1), None, "credits_fit_the_kind"),
        ("capture", True, (1, 0, -1), None, "credits_fit_the_kind"),
    ):
        refusal = await setup.refuses(
            WRITE,
            job.id if has_job else None,
            kind,
            *(Decimal(one) for one in numbers),
            job.price_id,
            reason,
            sqlstate="23514",
        )
        assert refusal.constraint == constraint, (kind, numbers)


async def test_a_capture_must_cite_its_price(setup: DatabaseSetup) -> None:
    job = await setup.enqueue()
    numbers = (Decimal(6), Decimal(-6), Decimal(-6))
    refusal = await setup.refuses(WRITE, job.id, "capture", *numbers, None, None, sqlstate="23514")
    assert refusal.constraint == "a_capture_cites_its_price"
    unknown = (*numbers, 10**9, None)
    await setup.refuses(WRITE, job.id, "capture", *unknown, sqlstate="23503")
    await setup.refuses(WRITE, uuid4(), "capture", *numbers, job.price_id, None, sqlstate="23503")


async def test_an_account_never_holds_nonsense(setup: DatabaseSetup) -> None:
    for change, constraint in (
        ("balance = 'NaN'", "balance_must_be_a_number"),
        ("balance = 'Infinity'", "balance_must_be_a_number"),
        ("balance = '-Infinity'", "balance_must_be_a_number"),
        ("held = -1", "held_must_not_be_negative"),
        ("held = 'NaN'", "held_must_not_be_negative"),
    ):
        refusal = await setup.refuses(f"UPDATE accounts SET {change}", sqlstate="23514")
        assert refusal.constraint == constraint


async def test_what_is_available_is_computed_and_never_written(setup: DatabaseSetup) -> None:
    await setup.enqueue()
    assert (await setup.billing.account("acme")).available == 994
    before = await setup.snapshot()
    with pytest.raises(PostgresDown) as caught:
        await setup.sql("UPDATE accounts SET available = 1000000")
    assert caught.value.sqlstate == "428C9"
    assert await setup.snapshot() == before
