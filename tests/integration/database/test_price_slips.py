"""A slip of the keyboard in a price: refused with a sentence, unless it is said to be meant."""

from __future__ import annotations

from decimal import Decimal

import asyncpg
import pytest

from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.database.plain_logins import login
from tests.support.database_logins import connected, with_user

TWO = "WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = 2"
CONFIRM = "SET LOCAL darkroom.confirm = 'yes'"
SLIPS = {
    f"UPDATE pricing SET credits = 1 {TWO}": "credits from 7 to 1 is a change of more than 5 times",
    f"UPDATE pricing SET credits = 70 {TWO}": (
        "credits from 7 to 70 is a change of more than 5 times"
    ),
    f"UPDATE pricing SET credits = 0 {TWO}": "credits from 7 to 0 is a change of more than 5 times",
    "UPDATE pricing SET credits = 0": "credits from 6 to 0 is a change of more than 5 times",
    "UPDATE pricing SET credits = 9 WHERE model = 'gpt-4o-image'": (
        "6 prices from 6 to 8 are all set to 9"
    ),
    "UPDATE pricing SET provider_credits = 7.5 WHERE model = 'gpt-4o-image'": (
        "6 charges of Kie from 6 to 8 are all set to 7.5"
    ),
    f"UPDATE pricing SET provider_credits = 0.7 {TWO}": (
        "provider_credits from 7 to 0.7 is a change of more than 5 times"
    ),
    f"UPDATE pricing SET credits = 40, provider_credits = 1 {TWO}": (
        "credits from 7 to 40 is a change of more than 5 times;"
        " provider_credits from 7 to 1 is a change of more than 5 times"
    ),
    (
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('gpt4o-image', 'text-to-image', 2, 7, 7)"
    ): "gpt4o-image text-to-image 2 was never sold before; priced are: ",
    (
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('gpt-4o-image', 'text-to-image', 2, 0.5, 7)"
        " ON CONFLICT (model, task, quantity, variant) DO UPDATE SET credits = excluded.credits"
    ): "credits from 7 to 0.5 is a change of more than 5 times",
    "DELETE FROM pricing WHERE model = 'gpt-4o-image' AND task = 'text-to-image'": (
        "3 prices are deleted, and nothing is sold by them any more: gpt-4o-image text-to-image 1,"
        " gpt-4o-image text-to-image 2, gpt-4o-image text-to-image 4"
    ),
    "DELETE FROM pricing": "26 prices are deleted, and nothing is sold by them any more: 4o-image",
}


@pytest.mark.parametrize("statement", SLIPS)
async def test_a_slip_is_refused_until_it_is_confirmed(
    setup: DatabaseSetup, statement: str
) -> None:
    refusal = await setup.refuses(statement)
    assert refusal.message.startswith(SLIPS[statement])
    assert refusal.constraint == "a_doubtful_price_is_confirmed"
    assert "SET LOCAL darkroom.confirm = 'yes'" in (refusal.hint or "")
    await setup.sql_confirmed(statement)
    assert await setup.broken_invariants() == {}
    # It was said for one transaction.
    assert await setup.value("SELECT current_setting('darkroom.confirm', true)") in {"", None}


@pytest.mark.parametrize("said", ["no", "", "true", "YES"])
async def test_only_yes_confirms(setup: DatabaseSetup, said: str) -> None:
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('darkroom.confirm', $1, true)", said)
        with pytest.raises(asyncpg.PostgresError, match="more than 5 times"):
            async with connection.transaction():
                await connection.execute(f"UPDATE pricing SET credits = 1 {TWO}")


@pytest.mark.parametrize(
    "change",
    ["credits = 35", "credits = 1.4", "credits = credits + 1", "provider_credits = 8.25"],
)
async def test_what_is_no_slip_is_not_asked_about(setup: DatabaseSetup, change: str) -> None:
    before = await setup.billing.price_history(100)
    await setup.sql(f"UPDATE pricing SET {change} {TWO}")
    assert len(await setup.billing.price_history(100)) == len(before) + 1


async def test_a_price_that_comes_back_is_compared_with_its_last_one(setup: DatabaseSetup) -> None:
    await setup.sql(f"DELETE FROM pricing {TWO}")
    insert = (
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('gpt-4o-image', 'text-to-image', 2, {}, 7)"
    )
    for credits in ("0", "1", "36"):
        refusal = await setup.refuses(insert.format(credits))
        assert f"credits from 7 to {credits} is a change of more than 5 times" in refusal.message
    await setup.sql(insert.format("9"))
    assert await setup.broken_invariants() == {}


async def test_prices_that_were_the_same_may_be_set_together(setup: DatabaseSetup) -> None:
    await setup.sql("UPDATE pricing SET credits = 10, provider_credits = 8 WHERE quantity = 2")
    both = [row["credits"] for row in await setup.billing.prices() if row["quantity"] == 2]
    assert both == [10, 10]


@pytest.mark.parametrize("number", ["6.123456", "7.001", "0.125"])
@pytest.mark.parametrize("column", ["credits", "provider_credits"])
async def test_a_price_with_more_decimals_than_two_is_refused_and_not_rounded(
    setup: DatabaseSetup, column: str, number: str
) -> None:
    refusal = await setup.refuses(f"UPDATE pricing SET {column} = {number} {TWO}")
    assert str(refusal) == (
        f"{column} must be a number from 0 to 1000000 with at most 2 decimals, not {number}"
    )
    with pytest.raises(asyncpg.PostgresError, match="at most 2 decimals"):
        await setup.database.pool.execute(
            "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
            " VALUES ('gpt-4o-image', 'text-to-image', 2, $1, now() + interval '1 day', 'why')",
            Decimal(number),
        )


async def test_a_price_below_kies_charge_and_an_update_of_nothing_are_warned_of(
    setup: DatabaseSetup, database_url: str
) -> None:
    del setup
    said: list[str] = []
    async with connected(database_url) as connection:
        connection.add_log_listener(lambda _, message: said.append(message.message))
        await connection.execute(f"UPDATE pricing SET credits = 5 {TWO}")
        await connection.execute("UPDATE pricing SET credits = 9 WHERE model = 'gpt4o-image'")
    below, nothing = said
    assert below == "gpt-4o-image text-to-image 2: the price of 5 is below the 7 that Kie charges"
    assert nothing.startswith("no row of pricing matches; priced are: ")
    assert "gpt-4o-image image-to-image 1, 2, 4; gpt-4o-image text-to-image 1, 2, 4" in nothing


async def test_who_sets_prices_alone_is_guarded_as_everybody(
    setup: DatabaseSetup, database_url: str
) -> None:
    del setup
    async with (
        login(database_url, member_of=["darkroom_pricing"]) as name,
        connected(with_user(database_url, name)) as connection,
    ):
        for statement, sentence in SLIPS.items():
            with pytest.raises(asyncpg.PostgresError) as caught:
                await connection.execute(statement)
            assert sentence in str(caught.value)
        async with connection.transaction():
            await connection.execute(CONFIRM)
            await connection.execute(f"UPDATE pricing SET credits = 1 {TWO}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT grant_credits('acme', 1, 'why')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT darkroom_refund_job(gen_random_uuid(), 'why')")
