"""Changes of prices that every role is refused, each with a sentence."""

from __future__ import annotations

import pytest

from shared.domain import job_events
from shared.domain.lifecycle import OPEN, TERMINAL, JobState
from tests.integration.database.database_setup import DatabaseSetup

ONE = "WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = 1"
FOLLOWS = "Change the price in pricing; history follows by itself."


@pytest.mark.parametrize("column", ["credits", "provider_credits"])
async def test_a_price_that_is_no_sensible_number_is_refused(
    setup: DatabaseSetup, column: str
) -> None:
    for value, shown in {
        "-1": "-1",
        "-0.01": "-0.01",
        "1000001": "1000001",
        "NULL": "NULL",
        "'NaN'": "NaN",
        "'Infinity'": "Infinity",
        "'-Infinity'": "-Infinity",
    }.items():
        refusal = await setup.refuses(f"UPDATE pricing SET {column} = {value} {ONE}")
        assert str(refusal) == (
            f"{column} must be a number from 0 to 1000000 with at most 2 decimals, not {shown}"
        )


async def test_a_combination_that_kie_does_not_sell_is_refused(setup: DatabaseSetup) -> None:
    text, image = "text-to-image", "image-to-image"
    for task, quantity in ((text, 3), (text, 0), (text, -1), (image, 8), ("text-to-video", 1)):
        refusal = await setup.refuses(
            "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
            f" VALUES ('gpt-4o-image', '{task}', {quantity}, 6, 6)"
        )
        assert str(refusal) == (
            "gpt-4o-image has the tasks text-to-image and image-to-image and the quantities 1, 2"
            f" and 4, not {task} with {quantity}"
        )


async def test_the_key_of_a_price_cannot_change(setup: DatabaseSetup) -> None:
    for change in ("model = 'other'", "task = 'image-to-image'", "quantity = 4", "variant = '2K'"):
        refusal = await setup.refuses(f"UPDATE pricing SET {change} {ONE}")
        assert "model, task, quantity and variant of a price cannot change" in str(refusal)
        assert refusal.hint == "Insert a row for the new combination instead."


async def test_a_second_row_for_the_same_key_is_refused(setup: DatabaseSetup) -> None:
    refusal = await setup.refuses(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('gpt-4o-image', 'text-to-image', 1, 6, 6)",
        sqlstate="23505",
    )
    assert refusal.constraint == "pricing_pkey"


async def test_a_price_that_an_open_job_uses_is_not_deleted(setup: DatabaseSetup) -> None:
    ends = {
        JobState.QUEUED: job_events.Cancelled,
        JobState.SUBMITTING: job_events.Rejected,
        JobState.UNKNOWN: job_events.SubmissionLost,
        JobState.GENERATING: job_events.Completed,
    }
    assert set(ends) == OPEN
    for state, end in ends.items():
        job = await setup.job_in(state)
        refusal = await setup.refuses(f"DELETE FROM pricing {ONE}")
        sentence = "the price of gpt-4o-image text-to-image quantity 1 is in use by open jobs"
        assert sentence in str(refusal)
        assert refusal.hint == "Change its credits, or wait until those jobs have ended."
        await setup.move(job, end)


async def test_a_price_that_only_ended_jobs_used_is_deleted(setup: DatabaseSetup) -> None:
    for state in sorted(TERMINAL):
        await setup.job_in(state)
    await setup.sql(f"DELETE FROM pricing {ONE}")
    assert await setup.broken_invariants() == {}


async def test_pricing_is_not_truncated(setup: DatabaseSetup) -> None:
    refusal = await setup.refuses("TRUNCATE pricing")
    assert "TRUNCATE on pricing is refused" in str(refusal)
    assert refusal.hint == "Delete single rows that no open job uses."


async def test_history_is_written_by_its_trigger_alone(setup: DatabaseSetup) -> None:
    for statement in (
        "UPDATE pricing_history SET credits = 1",
        "UPDATE pricing_history SET reason = 'another reason'",
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), now())",
        "DELETE FROM pricing_history",
        (
            "INSERT INTO pricing_history (model, task, quantity, credits, provider_credits, valid,"
            " changed_by) VALUES ('gpt-4o-image', 'text-to-image', 1, 1, 1,"
            " '[2001-01-01, 2001-01-02)', 'me')"
        ),
    ):
        refusal = await setup.refuses(statement)
        verb = statement.partition(" ")[0]
        assert f"pricing_history is append-only: {verb} is refused" in str(refusal)
        assert refusal.hint == FOLLOWS


async def test_history_is_not_truncated(setup: DatabaseSetup) -> None:
    refusal = await setup.refuses("TRUNCATE pricing_history CASCADE")
    assert "TRUNCATE on pricing_history is refused" in str(refusal)
    assert refusal.hint == FOLLOWS


async def test_a_closed_version_is_not_opened_again(setup: DatabaseSetup) -> None:
    await setup.set_price(9)
    await setup.refuses(
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), NULL)"
        " WHERE NOT upper_inf(valid)"
    )


async def test_even_without_triggers_versions_of_one_price_cannot_overlap(
    setup: DatabaseSetup,
) -> None:
    await setup.sql("ALTER TABLE pricing_history DISABLE TRIGGER USER")
    refusal = await setup.refuses(
        "INSERT INTO pricing_history (model, task, quantity, credits, provider_credits, valid,"
        " changed_by) VALUES ('gpt-4o-image', 'text-to-image', 1, 1, 1, '[2001-01-01,)', 'me')",
        sqlstate="23P01",
    )
    assert refusal.constraint == "versions_of_one_price_must_not_overlap"


async def test_even_without_triggers_constraints_refuse_nonsense(setup: DatabaseSetup) -> None:
    await setup.sql("ALTER TABLE pricing DISABLE TRIGGER USER")
    for change, constraint in (
        ("credits = 'NaN'", "credits_must_be_0_to_1000000"),
        ("provider_credits = 'Infinity'", "provider_credits_must_be_0_to_1000000"),
        ("quantity = 3", "gpt_4o_image_has_its_own_tasks_and_quantities"),
        ("model = 'other', quantity = 0", "quantity_must_be_positive"),
    ):
        refusal = await setup.refuses(f"UPDATE pricing SET {change} {ONE}", sqlstate="23514")
        assert refusal.constraint == constraint
