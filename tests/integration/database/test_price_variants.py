"""Each variant of a model has its own price, from the quote to the charge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar

import pytest

from producer.money.price_key import PriceKey
from producer.orders.order import Order
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.catalog import ImageRequest
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused, PriceMissing
from shared.settings import ChargeBasis
from tests.integration.database.database_setup import DatabaseSetup

PRICES = {("1K", 1): 5, ("2K", 1): 9, ("2K", 2): 14, ("4K", 1): 20}
AT = datetime.now(UTC) + timedelta(days=1)
OF = " AND model = 'painter'"


class Painting(ImageRequest):
    """A request of a model with variants, which no family of the catalog has."""

    model: ClassVar[str] = "painter"
    task: ClassVar[str] = "paint"
    resolution: str = "1K"
    quantity: int = 1

    @property
    def price_quantity(self) -> int:
        return self.quantity

    @property
    def price_variant(self) -> str:
        return self.resolution


@pytest.fixture
async def painter(setup: DatabaseSetup) -> DatabaseSetup:
    """A setup in which the variants of `painter` have prices."""
    for (variant, quantity), credits in PRICES.items():
        await setup.sql_confirmed(
            "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
            " VALUES ('painter', 'paint', $1, $2, $3, $3::numeric - 1)",
            quantity,
            variant,
            credits,
        )
    return setup


async def generating(painter: DatabaseSetup, variant: str, quantity: int = 1) -> Job:
    request = Painting(resolution=variant, quantity=quantity)
    return await painter.job_in(JobState.GENERATING, request=request)


@pytest.mark.parametrize("at_once", [1, 3])
async def test_each_variant_is_quoted_and_held_by_its_own_price(
    painter: DatabaseSetup, at_once: int
) -> None:
    for variant in ("1K", "2K", "4K"):
        request = Painting(resolution=variant)
        quote = await painter.billing.quote(request)
        orders = [Order(request=request, account_id="acme") for _ in range(at_once)]
        jobs = [one.job for one in await painter.book.insert(orders)]
        assert {(job.variant, job.credits_quoted, job.price_id) for job in jobs} == {
            (variant, PRICES[variant, 1], quote.price_id)
        }
        assert [await painter.book.get(job.id) for job in jobs] == jobs
    assert await painter.money() == (1_000, 34 * at_once)
    assert await painter.broken_invariants() == {}


@pytest.mark.parametrize(
    ("basis", "charges"),
    [
        ("current", {"1K": 5, "2K": 11, "4K": 18}),
        ("quoted", {"1K": 5, "2K": 9, "4K": 20}),
        ("lower_of", {"1K": 5, "2K": 9, "4K": 18}),
    ],
)
async def test_each_variant_is_charged_by_its_own_price(
    painter: DatabaseSetup, basis: ChargeBasis, charges: dict[str, int]
) -> None:
    jobs = [await generating(painter, variant) for variant in charges]
    await painter.sql(f"UPDATE pricing SET credits = 11 WHERE variant = '2K'{OF} AND quantity = 1")
    await painter.sql(f"UPDATE pricing SET credits = 18 WHERE variant = '4K'{OF}")
    settled = [await painter.settle(job, basis=basis) for job in jobs]
    assert {job.variant: job.credits_charged for job in settled} == charges
    assert await painter.broken_invariants() == {}


@pytest.mark.parametrize("basis", ["current", "quoted", "lower_of"])
async def test_fewer_images_are_charged_by_the_row_of_the_same_variant(
    painter: DatabaseSetup, basis: ChargeBasis
) -> None:
    job = await generating(painter, "2K", quantity=2)
    settled = await painter.settle(job, images=1, basis=basis)
    assert (job.credits_quoted, settled.credits_charged) == (14, 9)
    assert await painter.broken_invariants() == {}


async def test_late_images_cost_what_their_variant_costs(painter: DatabaseSetup) -> None:
    job = await painter.exceed_deadline(await generating(painter, "2K"))
    delivered = await painter.sql(
        "SELECT provider_credits"
        "  FROM darkroom_record_delivered_late($1, 1, $2, $3, 'delivered_late', false)",
        job.id,
        job.provider_task_id,
        ["https://images.example/late.png"],
    )
    assert [row["provider_credits"] for row in delivered] == [PRICES["2K", 1] - 1]
    assert await painter.broken_invariants() == {}


async def test_a_charge_by_the_price_of_another_variant_is_found(painter: DatabaseSetup) -> None:
    job = await painter.settle(await generating(painter, "2K"))
    await painter.sql("ALTER TABLE jobs DISABLE TRIGGER USER")
    await painter.sql("UPDATE jobs SET variant = '4K' WHERE id = $1", job.id)
    broken = await painter.broken_invariants()
    assert str(job.id) in broken["every capture cites its price"]


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("variant", ["8K", "2k", ""])
async def test_a_variant_without_a_price_is_refused_at_enqueue_with_what_is_priced(
    painter: DatabaseSetup, variant: str, at_once: int
) -> None:
    before = await painter.snapshot()
    order = Order(request=Painting(resolution=variant), account_id="acme")
    with pytest.raises(PriceMissing) as caught:
        await painter.book.insert([order] * at_once)
    named = f", variant {variant!r}" if variant else ""
    assert str(caught.value).startswith(
        f"no price for model 'painter', task 'paint', quantity 1{named}; an admin must insert that"
        " row into pricing; priced are: painter paint 1 1K, painter paint 1 2K, painter paint 1 4K,"
        " painter paint 2 2K, "
    )
    assert await painter.snapshot() == before


async def test_a_variant_without_a_price_is_no_reason_to_lose_another_variants_hold(
    painter: DatabaseSetup,
) -> None:
    await painter.sql_confirmed("DELETE FROM pricing WHERE variant = '4K'")
    with pytest.raises(PriceMissing):
        await painter.enqueue(Painting(resolution="4K"))
    job = await painter.settle(await generating(painter, "2K"))
    assert job.credits_charged == 9
    assert await painter.broken_invariants() == {}


INSERT = (
    "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
    " VALUES ('{}', '{}', 1, {}, 6, 6)"
)
ASKED_ABOUT = {
    INSERT.format("painter", "paint", "'2k'"): (
        "painter paint 1 2k was never sold before; priced are: "
    ),
    INSERT.format("painter", "paint", "''"): "painter paint 1 was never sold before",
    "UPDATE pricing SET credits = 6 WHERE model = 'painter'": (
        "4 prices from 5 to 20 are all set to 6"
    ),
    "UPDATE pricing SET credits = 12 WHERE model = 'painter' AND quantity = 1": (
        "3 prices from 5 to 20 are all set to 12"
    ),
    f"UPDATE pricing SET credits = 90 WHERE variant = '4K'{OF}": "",
    f"UPDATE pricing SET credits = 101 WHERE variant = '4K'{OF}": (
        "credits from 20 to 101 is a change of more than 5 times"
    ),
}
REFUSED = {
    INSERT.format("painter", "paint", "' 2K'"): (
        "variant must be up to 40 printable characters without spaces, not ' 2K'"
    ),
    INSERT.format("painter", "paint", "E'2K\\n'"): "without spaces, not '2K\n'",
    INSERT.format("painter", "paint", f"'{'x' * 41}'"): "variant must be up to 40",
    INSERT.format("painter", "paint", "NULL"): "without spaces, not NULL",
    INSERT.format("gpt-4o-image", "text-to-image", "'2K'"): (
        "gpt-4o-image has no variants: variant must be empty, not '2K'"
    ),
    "UPDATE pricing SET variant = '8K' WHERE variant = '4K'": (
        "model, task, quantity and variant of a price cannot change"
    ),
    "UPDATE pricing_history SET variant = '8K' WHERE variant = '4K'": "is append-only",
    (
        "INSERT INTO scheduled_prices (model, task, quantity, variant, credits, takes_effect_at,"
        " reason) VALUES ('painter', 'paint', 1, '2k', 9, now() + interval '1 day', 'why')"
    ): "pricing has no row painter paint 1 2k; priced are: ",
    (
        "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
        " VALUES ('painter', 'paint', 1, 9, now() + interval '1 day', 'why')"
    ): "pricing has no row painter paint 1; priced are: ",
}


async def test_a_slip_in_a_variant_is_asked_about_or_refused(painter: DatabaseSetup) -> None:
    for statement, sentence in ASKED_ABOUT.items():
        if not sentence:
            await painter.sql(statement)
            await painter.sql(f"UPDATE pricing SET credits = 20 WHERE variant = '4K'{OF}")
            continue
        refusal = await painter.refuses(statement)
        assert refusal.constraint == "a_doubtful_price_is_confirmed"
        assert refusal.message.startswith(sentence), statement
    for statement, sentence in REFUSED.items():
        refusal = await painter.refuses(statement)
        assert sentence in refusal.message, statement
    assert await painter.broken_invariants() == {}


async def test_a_price_is_kept_while_open_jobs_of_its_variant_use_it(
    painter: DatabaseSetup,
) -> None:
    job = await generating(painter, "2K")
    refusal = await painter.refuses("DELETE FROM pricing WHERE variant = '2K' AND quantity = 1")
    assert "the price of painter paint quantity 1 2K is in use by open jobs" in refusal.message
    await painter.sql_confirmed("DELETE FROM pricing WHERE variant = '4K'")
    await painter.settle(job)
    await painter.sql_confirmed("DELETE FROM pricing WHERE variant = '2K'")
    assert await painter.broken_invariants() == {}


async def test_each_variant_has_its_own_history_schedule_and_preview(
    painter: DatabaseSetup,
) -> None:
    keys = [PriceKey("painter", "paint", 1, variant) for variant in ("1K", "2K", "4K")]
    changes = painter.billing.price_changes
    await generating(painter, "2K")
    await changes.change(keys[1], Decimal(10), reason="Kie raised it")
    assert [len(await painter.billing.price_versions(key, 9)) for key in keys] == [1, 2, 1]
    scheduled = [
        await changes.schedule(key, Decimal(12), at=AT, reason="summer") for key in keys[:2]
    ]
    assert [row["variant"] for row in scheduled] == ["1K", "2K"]
    previews = [await changes.preview(key, Decimal(8), charge_basis="current") for key in keys]
    assert [(one.credits_before, one.open_jobs, len(one.warnings)) for one in previews] == [
        (5, 0, 1),
        (10, 1, 1),
        (20, 0, 1),
    ]
    await painter.sql("ALTER TABLE scheduled_prices DISABLE TRIGGER USER")
    await painter.sql("UPDATE scheduled_prices SET takes_effect_at = now()")
    await painter.sql("ALTER TABLE scheduled_prices ENABLE TRIGGER USER")
    await painter.sql("SELECT darkroom_apply_scheduled_prices()")
    assert [(await painter.billing.price(*key))["credits"] for key in keys] == [12, 12, 20]
    subjects = await painter.sql(
        "SELECT subject FROM audit_entries WHERE act = 'price_changed' ORDER BY id DESC LIMIT 2"
    )
    assert {row["subject"] for row in subjects} == {
        "pricing painter paint 1 1K",
        "pricing painter paint 1 2K",
    }
    assert await painter.broken_invariants() == {}


async def test_what_sums_prices_of_jobs_takes_the_variant_of_each(painter: DatabaseSetup) -> None:
    queued = [await painter.enqueue(Painting(resolution=one)) for one in ("1K", "2K", "4K")]
    needed = await painter.database.fetch_row("balance_needed")
    assert needed is not None
    assert needed["needed"] == 4 + 8 + 19
    (cost,) = await painter.database.fetch("cost_of_jobs", [job.id for job in queued])
    assert (cost["jobs"], cost["credits_now"], cost["jobs_without_price"]) == (3, 34, 0)
    await generating(painter, "2K")
    (attempt,) = await painter.database.fetch("attempts_that_may_cost", AT, 60.0, "default")
    assert attempt["credits"] == 8


async def test_open_jobs_whose_variant_has_lost_its_price_are_named(painter: DatabaseSetup) -> None:
    for variant in ("2K", "4K"):
        await painter.enqueue(Painting(resolution=variant))
    assert (await read_system_state(painter.database)).unpriced == ()
    await painter.sql("ALTER TABLE pricing DISABLE TRIGGER pricing_keeps_what_is_in_use")
    await painter.sql_confirmed(
        "DELETE FROM pricing WHERE variant IN ('1K', '4K') AND model = 'painter'"
    )
    assert (await read_system_state(painter.database)).unpriced == ("painter paint 1 4K",)


CALLS_OF_BEFORE = """
SELECT * FROM darkroom_enqueue_job(gen_random_uuid(), 'acme', 'MODEL', 'TASK', 1, '{}', NULL, '{}',
                                   NULL, 'normal', NULL, NULL);
SELECT * FROM darkroom_enqueue_jobs(ARRAY[gen_random_uuid()], '{acme}', '{MODEL}', '{TASK}', '{1}',
                                    ARRAY['{}'], '{NULL}', ARRAY['{}'], '{NULL}', '{normal}',
                                    '{NULL}', '{NULL}');
SELECT * FROM darkroom_set_price('MODEL', 'TASK', 1, 7, 'why', NULL);
SELECT * FROM darkroom_change_price('MODEL', 'TASK', 1, 8, NULL, 'why', false, NULL);
SELECT * FROM darkroom_schedule_price('MODEL', 'TASK', 1, 9, NULL, now() + interval '1 day', 'why',
                                      false, NULL)
"""


async def test_calls_of_programs_of_before_variants_reach_prices_without_one(
    painter: DatabaseSetup,
) -> None:
    for call in calls_of_before("gpt-4o-image", "text-to-image"):
        assert len(await painter.sql(call)) == 1, call
    before = await painter.snapshot()
    *calls, schedule = calls_of_before("painter", "paint")
    for call in calls:
        assert await painter.sql(call) == [], call
    with pytest.raises(DatabaseRefused, match="pricing has no row painter paint 1;"):
        await painter.sql(schedule)
    assert await painter.snapshot() == before
    assert await painter.broken_invariants() == {}


def calls_of_before(model: str, task: str) -> list[str]:
    """Return the calls of a program that does not know variants."""
    return CALLS_OF_BEFORE.replace("MODEL", model).replace("TASK", task).split(";")
