"""What a preview counts, by each charge basis; and what of it comes true."""

from __future__ import annotations

from decimal import Decimal

import pytest

from producer import ConfirmationNeeded, PriceMissing
from shared.domain.lifecycle import JobState
from shared.settings import ChargeBasis
from tests.integration.database.database_setup import DatabaseSetup

KEY = ("gpt-4o-image", "text-to-image", 1)


@pytest.mark.parametrize(
    ("basis", "repriced", "effect"), [("current", 3, -3), ("quoted", 0, 0), ("lower_of", 3, -3)]
)
@pytest.mark.parametrize("new", [5, 8])
async def test_what_open_jobs_will_be_charged_is_what_the_preview_says(
    setup: DatabaseSetup, basis: ChargeBasis, repriced: int, effect: int, new: int
) -> None:
    jobs = [await setup.job_in(JobState.GENERATING) for _ in range(3)]
    await setup.job_in(JobState.FAILED)
    changes = setup.billing.price_changes
    preview = await changes.preview(KEY, Decimal(new), charge_basis=basis)
    if new == 8:
        repriced, effect = {"current": (3, 6), "quoted": (0, 0), "lower_of": (0, 0)}[basis]
    assert (preview.open_jobs, preview.credits_held) == (3, 18)
    assert (preview.open_jobs_repriced, preview.open_jobs_effect) == (repriced, effect)
    await changes.change(KEY, Decimal(new), reason="why")
    charged = [(await setup.settle(job, basis=basis)).credits_charged or 0 for job in jobs]
    assert sum(charged) == 18 + effect


async def test_the_last_7_days_are_those_charged_by_this_price(setup: DatabaseSetup) -> None:
    for _ in range(2):
        await setup.settle(await setup.job_in(JobState.GENERATING))
    await setup.sql("ALTER TABLE jobs DISABLE TRIGGER USER")
    old = await setup.job_in(JobState.SUCCEEDED)
    await setup.sql("UPDATE jobs SET finished_at = now() - interval '8 days' WHERE id = $1", old.id)
    preview = await setup.billing.price_changes.preview(KEY, Decimal(9), charge_basis="current")
    assert (preview.jobs_last_7_days, preview.revenue_last_7_days) == (2, 12)
    assert preview.revenue_effect_per_7_days == 6


async def test_a_preview_doubts_exactly_what_a_change_refuses(setup: DatabaseSetup) -> None:
    changes = setup.billing.price_changes
    for text in ("1", "1.2", "1.19", "30", "30.01", "0", "6"):
        preview = await changes.preview(KEY, Decimal(text), charge_basis="current")
        if preview.needs_confirmation:
            before = await setup.snapshot()
            with pytest.raises(ConfirmationNeeded) as caught:
                await changes.change(KEY, Decimal(text), reason="why")
            assert caught.value.doubts == "; ".join(preview.doubts)
            assert await setup.snapshot() == before
        else:
            await changes.change(KEY, Decimal(text), reason="why")
            await changes.change(KEY, Decimal(6), reason="back")


async def test_a_price_that_is_missing_names_those_that_exist(setup: DatabaseSetup) -> None:
    for key in (("gpt4o", "text-to-image", 1), ("gpt-4o-image", "text", 1), (*KEY[:2], 3)):
        for call in (
            setup.billing.price_changes.preview(key, Decimal(9), charge_basis="current"),
            setup.billing.price_changes.change(key, Decimal(9), reason="why"),
            setup.billing.price(*key),
        ):
            with pytest.raises(PriceMissing, match="priced are: gpt-4o-image image-to-image 1"):
                await call
