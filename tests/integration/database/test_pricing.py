"""Prices as SQL rows: Kie's prices are seeded, a plain UPDATE changes a price, versions stay."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from producer import PriceMissing
from producer.orders.order import Order
from shared.catalog import list_families
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import image_to_image, text_to_image

TEXT, QUANTITY_2 = ("gpt-4o-image", "text-to-image"), ("gpt-4o-image", "text-to-image", 2)
# As the contract has it, word for word.
PLAIN_UPDATE = (
    "UPDATE pricing SET credits = 9 WHERE model = 'gpt-4o-image' AND task = 'text-to-image'"
    " AND quantity = 2;"
)


async def versions(setup: DatabaseSetup, quantity: int = 2) -> list[dict[str, Any]]:
    """Return the versions of one price, oldest first."""
    rows = await setup.sql(
        "SELECT id, credits, provider_credits, lower(valid) AS since, upper(valid) AS until,"
        "       changed_by, reason FROM pricing_history"
        " WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = $1"
        " ORDER BY lower(valid)",
        quantity,
    )
    return [dict(row) for row in rows]


async def open_version(setup: DatabaseSetup, quantity: int = 2) -> int:
    price = await setup.billing.price(*TEXT, quantity)
    return int(price["price_id"])


def what_kie_charges() -> dict[tuple[str, str, int, str], Decimal]:
    """Return Kie's credits by model, task, quantity and variant, as the families document them."""
    kie = {
        (TEXT[0], task, quantity, ""): Decimal(credits)
        for task in ("text-to-image", "image-to-image")
        for quantity, credits in {1: 6, 2: 7, 4: 8}.items()
    }
    for family in list_families().values():
        for model in family.kie_models:
            # A model of Kie is for one task, or for both.
            tasks = [task for task in family.tasks if model.name.endswith(task)] or family.tasks
            for task, (variant, credits) in product(tasks, model.credits.items()):
                kie[family.name, task, 1, variant] = credits
    return kie


async def test_m5_what_kie_charges_is_what_is_seeded(setup: DatabaseSetup) -> None:
    seeded = {
        (row["model"], row["task"], row["quantity"], row["variant"]): row
        for row in await setup.billing.prices()
    }
    kie = what_kie_charges()
    assert {key: row["provider_credits"] for key, row in seeded.items()} == kie
    assert {key: row["credits"] for key, row in seeded.items()} == kie
    history = await setup.billing.price_history(100)
    assert [one["reason"] for one in history] == ["seeded"] * len(kie)
    assert await setup.broken_invariants() == {}


async def test_m6_a_plain_update_closes_the_version_and_opens_the_next(
    setup: DatabaseSetup,
) -> None:
    before = await setup.value("SELECT clock_timestamp()")
    await setup.sql(PLAIN_UPDATE)
    after = await setup.value("SELECT clock_timestamp()")
    old, new = await versions(setup)
    assert (old["credits"], new["credits"]) == (7, 9)
    assert before <= old["until"] == new["since"] <= after
    assert new["until"] is None
    assert (new["reason"], new["changed_by"]) == (None, await setup.value("SELECT session_user"))
    price = await setup.billing.price(*QUANTITY_2)
    assert (price["credits"], price["price_id"]) == (9, new["id"])
    assert price["updated_at"] >= before
    assert await setup.broken_invariants() == {}


async def test_m6_a_change_holds_from_the_next_settlement_without_a_restart(
    setup: DatabaseSetup,
) -> None:
    jobs = [
        await setup.job_in(JobState.GENERATING, request=text_to_image(quantity=2)) for _ in range(3)
    ]
    charged = []
    for job, price in zip(jobs, (None, 9, "8.5"), strict=True):
        if price is not None:
            await setup.set_price(price, quantity=2)
        charged.append((await setup.settle(job, images=2)).credits_charged)
    assert charged == [7, 9, Decimal("8.5")]
    assert (await setup.money())[0] == 1_000 - Decimal("24.5")
    assert await setup.broken_invariants() == {}


async def test_a_reason_said_before_the_change_is_kept_with_the_version(
    setup: DatabaseSetup,
) -> None:
    async with setup.database.pool.acquire() as connection:
        await connection.execute("SET darkroom.reason = 'Kie raised its prices'")
        await connection.execute(PLAIN_UPDATE)
        await connection.execute("RESET darkroom.reason")
        await connection.execute(PLAIN_UPDATE.replace("9", "10", 1))
    assert [one["reason"] for one in await versions(setup)] == [
        "seeded",
        "Kie raised its prices",
        None,
    ]


async def test_a_program_that_acts_for_a_person_names_that_person(setup: DatabaseSetup) -> None:
    price = await setup.billing.set_price(QUANTITY_2, Decimal("9.5"), reason="sale", actor="maria")
    assert (price["credits"], price["updated_by"]) == (Decimal("9.5"), "maria")
    assert [(one["reason"], one["changed_by"]) for one in (await versions(setup))[1:]] == [
        ("sale", "maria")
    ]
    # Both settings are for one transaction. The next plain UPDATE has neither.
    await setup.sql(PLAIN_UPDATE)
    newest = (await versions(setup))[-1]
    assert newest["reason"] is None
    assert newest["changed_by"] == await setup.value("SELECT session_user")


async def test_setting_a_price_to_what_it_is_opens_no_version(setup: DatabaseSetup) -> None:
    before = await setup.snapshot()
    await setup.set_price(7, quantity=2)
    await setup.set_price("7.000", quantity=2)
    await setup.sql("UPDATE pricing SET updated_by = 'nobody', price_id = 1")
    assert await setup.snapshot() == before


async def test_what_kie_charges_us_is_versioned_too(setup: DatabaseSetup) -> None:
    await setup.sql("UPDATE pricing SET provider_credits = 5 WHERE quantity = 2")
    old, new = await versions(setup)
    assert (old["provider_credits"], new["provider_credits"]) == (7, 5)
    assert (old["credits"], new["credits"]) == (7, 7)
    assert await setup.broken_invariants() == {}


async def test_two_changes_in_one_transaction_are_two_versions_without_a_gap(
    setup: DatabaseSetup,
) -> None:
    async with setup.database.transaction() as queries:
        await queries.connection.execute(PLAIN_UPDATE)
        await queries.connection.execute(PLAIN_UPDATE.replace("9", "10", 1))
    kept = await versions(setup)
    assert [one["credits"] for one in kept] == [7, 9, 10]
    assert [one["until"] for one in kept] == [kept[1]["since"], kept[2]["since"], None]
    assert await setup.broken_invariants() == {}


async def test_a_change_that_is_rolled_back_leaves_no_version(setup: DatabaseSetup) -> None:
    before = await setup.snapshot()
    async with setup.database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(PLAIN_UPDATE)
        await transaction.rollback()
    assert await setup.snapshot() == before


async def test_changes_by_several_admins_at_once_each_become_a_version(
    setup: DatabaseSetup,
) -> None:
    await asyncio.gather(*(setup.set_price(100 + n, quantity=2) for n in range(20)))
    kept = await versions(setup)
    assert sorted(one["credits"] for one in kept) == [7, *range(100, 120)]
    assert [one["until"] for one in kept] == [*(one["since"] for one in kept[1:]), None]
    assert kept[-1]["id"] == await open_version(setup)
    assert await setup.broken_invariants() == {}


async def test_one_update_of_many_rows_opens_a_version_for_each(setup: DatabaseSetup) -> None:
    before = await setup.billing.price_history(100)
    await setup.sql(f"UPDATE pricing SET credits = credits * 2 WHERE model = '{TEXT[0]}'")
    assert len(await setup.billing.price_history(100)) == len(before) + 6
    doubled = [row["credits"] for row in await setup.billing.prices() if row["model"] == TEXT[0]]
    assert doubled == [12, 14, 16, 12, 14, 16]
    assert await setup.broken_invariants() == {}


async def test_a_deleted_price_closes_its_version_and_can_no_longer_be_sold(
    setup: DatabaseSetup,
) -> None:
    await setup.sql_confirmed("DELETE FROM pricing WHERE quantity = 2")
    assert [one["until"] is not None for one in await versions(setup)] == [True]
    with pytest.raises(PriceMissing, match="an admin must insert that row into pricing"):
        await setup.enqueue(text_to_image(quantity=2))
    assert await setup.value("SELECT count(*) FROM jobs") == 0
    assert await setup.broken_invariants() == {}


async def test_a_price_inserted_again_opens_a_new_version(setup: DatabaseSetup) -> None:
    await setup.sql("DELETE FROM pricing WHERE quantity = 2 AND task = 'text-to-image'")
    await setup.sql(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('gpt-4o-image', 'text-to-image', 2, 12, 7)"
    )
    old, new = await versions(setup)
    assert old["until"] <= new["since"]
    assert (new["credits"], new["until"], new["id"]) == (12, None, await open_version(setup))
    assert (await setup.enqueue(text_to_image(quantity=2))).credits_quoted == 12
    assert await setup.broken_invariants() == {}


async def test_deleting_and_inserting_in_one_transaction_keeps_the_versions_apart(
    setup: DatabaseSetup,
) -> None:
    async with setup.database.transaction() as queries:
        for _ in range(3):
            await queries.connection.execute(
                "DELETE FROM pricing WHERE quantity = 2 AND task = 'text-to-image'"
            )
            await queries.connection.execute(
                "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
                " VALUES ('gpt-4o-image', 'text-to-image', 2, 12, 7)"
            )
    assert len(await versions(setup)) == 4
    assert await setup.broken_invariants() == {}


async def test_an_upsert_changes_the_price_like_an_update(setup: DatabaseSetup) -> None:
    await setup.sql(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('gpt-4o-image', 'text-to-image', 2, 11, 7)"
        " ON CONFLICT (model, task, quantity, variant) DO UPDATE SET credits = excluded.credits"
    )
    assert [one["credits"] for one in await versions(setup)] == [7, 11]
    assert await setup.broken_invariants() == {}


async def test_a_price_for_another_model_needs_rows_only(setup: DatabaseSetup) -> None:
    await setup.sql_confirmed(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('next-model', 'text-to-video', 3, 20, 15)"
    )
    assert (await setup.billing.price("next-model", "text-to-video", 3))["credits"] == 20
    assert await setup.broken_invariants() == {}


async def test_each_task_has_its_own_price(setup: DatabaseSetup) -> None:
    await setup.sql_confirmed("UPDATE pricing SET credits = 60 WHERE task = 'image-to-image'")
    quotes = [await setup.billing.quote(request()) for request in (text_to_image, image_to_image)]
    assert [quote.credits for quote in quotes] == [6, 60]


async def test_free_jobs_are_held_and_charged_with_nothing(setup: DatabaseSetup) -> None:
    await setup.set_price(0)
    job = await setup.job_in(JobState.GENERATING)
    assert (await setup.settle(job)).credits_charged == 0
    assert await setup.money() == (1_000, 0)
    assert await setup.broken_invariants() == {}


async def test_a_missing_row_cannot_be_set_and_nonsense_is_refused(setup: DatabaseSetup) -> None:
    with pytest.raises(PriceMissing):
        await setup.billing.set_price(("gpt-4o-image", "x", 1), Decimal(1), reason="r", actor="a")
    with pytest.raises(DatabaseRefused, match="from 0 to 1000000 with at most 2 decimals, not -1"):
        await setup.billing.set_price(QUANTITY_2, Decimal(-1), reason="r", actor="a")
    assert len(await versions(setup)) == 1


async def test_an_order_made_before_a_change_is_quoted_the_price_at_enqueue(
    setup: DatabaseSetup,
) -> None:
    order = Order(request=text_to_image(quantity=2), account_id="acme")
    await setup.set_price(9, quantity=2)
    enqueued = await setup.book.insert([order])
    assert (enqueued[0].job.credits_quoted, enqueued[0].job.price_id) == (
        9,
        await open_version(setup),
    )
