"""Grants with an idempotency key: whatever is repeated or at once, credits move once."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import asyncpg
import pytest

from producer.billing import Billing
from producer.money.grants import GrantConflict, GrantedAccount
from shared.adapters.postgres.database import connect_database
from shared.errors import IdempotencyConflict, InvalidRequest, WouldLeaveDebt
from tests.integration.database.database_setup import DatabaseSetup


async def grant(
    setup: DatabaseSetup, credits: str, reason: str = "invoice 17", key: str | None = "i-17"
) -> GrantedAccount:
    """Grant to acme, which has 1,000 credits."""
    return await setup.billing.grant(
        "acme", Decimal(credits), reason, idempotency_key=key, actor="maria"
    )


async def test_a_repeated_grant_has_the_first_entry_and_adds_nothing(setup: DatabaseSetup) -> None:
    first = await grant(setup, "100")
    await grant(setup, "5", "another", key="i-18")
    again = await grant(setup, "100.00", "  invoice 17 ")
    assert (first.is_replayed, again.is_replayed) == (False, True)
    assert again.entry == first.entry
    assert again.entry["balance_after"] == 1_100
    assert (first.balance, again.balance) == (1_100, 1_105)
    assert await setup.money() == (1_105, 0)
    acts = [entry["act"] for entry in await setup.billing.audit(account_id="acme")]
    assert acts.count("credits_granted") == 3  # the first credits of acme, and two
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize(
    ("credits", "reason", "differs"),
    [("101", "invoice 17", "credits"), ("100", "why", "reason"), ("-1", "x", "credits, reason")],
)
async def test_another_grant_with_the_key_is_refused_and_names_what_differs(
    setup: DatabaseSetup, credits: str, reason: str, differs: str
) -> None:
    first = await grant(setup, "100")
    with pytest.raises(IdempotencyConflict) as refused:
        await grant(setup, credits, reason)
    assert refused.value.code == "idempotency_conflict"
    assert refused.value.differs == tuple(differs.split(", "))
    assert str(refused.value) == (
        f"idempotency key 'i-17' was used for ledger entry {first.entry['id']} of account acme,"
        f" which differs in: {differs}; use a new key for a new grant"
    )
    assert await setup.money() == (1_100, 0)


async def test_keys_belong_to_an_account_and_a_refusal_is_not_stored(setup: DatabaseSetup) -> None:
    await setup.billing.create_account("shop", Decimal(0))
    await grant(setup, "100")
    made = await setup.billing.grant(
        "shop", Decimal(7), "invoice 17", idempotency_key="i-17", actor="maria"
    )
    assert (made.is_replayed, made.balance) == (False, 7)
    with pytest.raises(WouldLeaveDebt):
        await grant(setup, "-5000", "too much", key="i-18")
    assert not (await grant(setup, "-5", "too much", key="i-18")).is_replayed
    for _ in range(2):  # without a key, each adds
        assert not (await grant(setup, "1", key=None)).is_replayed
    assert await setup.money() == (1_097, 0)
    for key in ("", "x" * 256, "a\nb"):
        with pytest.raises(InvalidRequest, match="idempotency_key"):
            await grant(setup, "1", key=key)
    assert await setup.broken_invariants() == {}


async def test_of_many_with_one_key_at_once_one_is_added(
    setup: DatabaseSetup, database_url: str
) -> None:
    async with connect_database(database_url, connections=6) as database:
        billing = Billing(database)
        granted = await asyncio.gather(
            *(
                billing.grant("acme", Decimal(10), "at once", idempotency_key="k", actor="maria")
                for _ in range(12)
            )
        )
        others = await asyncio.gather(
            *(
                billing.grant("acme", Decimal(n), "at once", idempotency_key="m", actor="maria")
                for n in range(1, 7)
            ),
            return_exceptions=True,
        )
    assert sorted(one.is_replayed for one in granted) == [False, *[True] * 11]
    assert len({one.entry["id"] for one in granted}) == 1
    assert [type(one) for one in others].count(GrantConflict) == 5
    (added,) = (one for one in others if isinstance(one, GrantedAccount))
    assert await setup.money() == (1_010 + added.entry["credits"], 0)
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("commits", [False, True])
async def test_a_grant_whose_connection_dies_is_whole_or_not_there(
    setup: DatabaseSetup, database_url: str, commits: bool
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("BEGIN")
    await connection.execute("SELECT grant_credits('acme', 100, 'invoice 17', key => 'i-17')")
    if commits:
        await connection.execute("COMMIT")
    connection.terminate()
    # The program has seen no answer, and asks again.
    assert (await grant(setup, "100")).is_replayed == commits
    assert await setup.money() == (1_100, 0)
    assert await setup.broken_invariants() == {}


async def test_no_entry_of_a_job_and_no_second_entry_can_have_the_key(
    setup: DatabaseSetup,
) -> None:
    await grant(setup, "100")
    columns = (
        "account_id, kind, credits, balance_change, held_change, balance_after, held_after, reason,"
        " idempotency_key"
    )
    for key, constraint, sqlstate in (
        ("i-17", "ledger_entries_one_per_key", "23505"),
        ("", "a_key_names_a_grant", "23514"),
    ):
        refusal = await setup.refuses(
            f"INSERT INTO ledger_entries ({columns})"
            f" VALUES ('acme', 'grant', 1, 1, 0, 1, 0, 'why', '{key}')",
            sqlstate=sqlstate,
        )
        assert refusal.constraint == constraint
