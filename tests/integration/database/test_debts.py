"""An adjustment takes at most the available credits, unless a debt is allowed."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from producer import WouldLeaveDebt
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import text_to_image


@pytest.mark.parametrize("credits", ["-1000.01", "-1001", "-1000000000"])
async def test_more_than_the_balance_is_not_taken_unless_asked(
    setup: DatabaseSetup, credits: str
) -> None:
    before = await setup.snapshot()
    with pytest.raises(WouldLeaveDebt, match="account acme has 1000 credits available"):
        await setup.billing.grant("acme", Decimal(credits), "typo")
    refusal = await setup.refuses("SELECT grant_credits('acme', $1, 'typo')", Decimal(credits))
    assert "allow_debt => true" in (refusal.hint or "")
    assert await setup.snapshot() == before
    account = await setup.billing.grant("acme", Decimal(credits), "a debt", allow_debt=True)
    assert account.balance == 1_000 + Decimal(credits)
    assert await setup.broken_invariants() == {}


async def test_what_open_jobs_hold_is_not_taken_from_under_them(setup: DatabaseSetup) -> None:
    await setup.enqueue(text_to_image(quantity=4))
    with pytest.raises(WouldLeaveDebt, match="has 992 credits available, of which 993 cannot"):
        await setup.billing.grant("acme", Decimal(-993), "too much")
    assert (await setup.billing.grant("acme", Decimal(-992), "all that is free")).available == 0
    assert await setup.broken_invariants() == {}


async def test_credits_come_to_an_account_in_debt_whatever_is_left_of_it(
    setup: DatabaseSetup,
) -> None:
    await setup.billing.grant("acme", Decimal(-1_010), "a debt", allow_debt=True)
    assert (await setup.billing.grant("acme", Decimal(4), "a part")).balance == -6
    with pytest.raises(WouldLeaveDebt, match="has -6 credits available"):
        await setup.billing.grant("acme", Decimal(-1), "more")
    # A price that rises between enqueue and success is charged in full.
    await setup.billing.grant("acme", Decimal(12), "the rest")
    job = await setup.job_in(JobState.GENERATING)
    await setup.set_price(20)
    await setup.settle(job)
    assert (await setup.billing.account("acme")).balance == -14
    assert await setup.broken_invariants() == {}


async def test_two_enqueues_of_the_last_credits_do_not_both_succeed(
    setup: DatabaseSetup,
) -> None:
    taken = await asyncio.gather(
        *(setup.billing.grant("acme", Decimal(-600), "mine") for _ in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in taken) == [
        "GrantedAccount",
        *["WouldLeaveDebt"] * 3,
    ]
    assert await setup.money() == (400, 0)
    assert await setup.broken_invariants() == {}


async def test_an_account_is_created_with_its_credits_or_not_at_all(setup: DatabaseSetup) -> None:
    with pytest.raises(WouldLeaveDebt):
        await setup.billing.create_account("shop", Decimal(-1))
    assert await setup.value("SELECT count(*) FROM accounts WHERE id = 'shop'") == 0
    account = await setup.billing.create_account("shop", Decimal("12.5"), actor="maria")
    assert (account.balance, account.available) == (Decimal("12.5"), Decimal("12.5"))
    granted, created = await setup.billing.audit(account_id="shop")
    assert (granted["act"], created["act"]) == ("credits_granted", "account_created")
    assert granted["actor"] == created["actor"] == "maria"
    assert await setup.broken_invariants() == {}
