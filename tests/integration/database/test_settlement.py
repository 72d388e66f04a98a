"""Money at the end of a job: captured once, by the charge basis, or released once."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
import structlog

from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused, InsufficientCredits, StaleJob
from shared.settings import ChargeBasis
from tests.integration.database.database_setup import DatabaseSetup, completed
from tests.support.deployment import text_to_image
from tests.support.example_jobs import polled

DROP_PRICE = (
    "DELETE FROM pricing WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = $1"
)
# A price that open jobs use cannot be deleted: only who switches the trigger off can do it.
FORCE = "ALTER TABLE pricing DISABLE TRIGGER pricing_keeps_what_is_in_use"


async def generating(setup: DatabaseSetup, quantity: int = 1) -> Job:
    return await setup.job_in(JobState.GENERATING, request=text_to_image(quantity=quantity))


async def entries(setup: DatabaseSetup, job: Job) -> list[tuple[object, ...]]:
    """Return kind, credits and the balances after each entry of the job, oldest first."""
    rows = await setup.sql(
        "SELECT kind, credits, balance_after, held_after FROM ledger_entries"
        " WHERE job_id = $1 ORDER BY id",
        job.id,
    )
    return [tuple(row) for row in rows]


async def test_success_captures_the_hold_in_the_same_statement(setup: DatabaseSetup) -> None:
    job = await generating(setup, quantity=2)
    assert await setup.money() == (1_000, 7)
    settled = await setup.settle(job, images=2)
    assert (settled.state, settled.credits_charged, settled.progress) == ("succeeded", 7, 1)
    assert settled.finished_at is not None
    assert await setup.money() == (993, 0)
    assert await entries(setup, job) == [("hold", 7, 1_000, 7), ("capture", 7, 993, 0)]
    assert await setup.broken_invariants() == {}


async def test_an_end_without_images_releases_the_hold_and_charges_nothing(
    setup: DatabaseSetup,
) -> None:
    for end in (
        (job_events.Claimed, job_events.Rejected),
        (job_events.Claimed, job_events.Submitted, job_events.ProviderFailed),
        (job_events.Claimed, job_events.Submitted, job_events.DeadlineExceeded),
        (job_events.Claimed, job_events.OutcomeUnknown, job_events.SubmissionLost),
        (job_events.Cancelled,),
        (job_events.Claimed, job_events.Deferred, job_events.Cancelled),
    ):
        job = await setup.enqueue()
        ended = await setup.move(job, *end)
        assert (ended.is_terminal, ended.credits_charged) == (True, None)
        assert ended.reason
        assert ended.message
        assert await setup.money() == (1_000, 0)
        assert await entries(setup, job) == [("hold", 6, 1_000, 6), ("release", 6, 1_000, 0)]
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize(
    ("basis", "charges"),
    [
        ("current", {10: 10, 3: 3, 6: 6}),
        ("quoted", {10: 6, 3: 6, 6: 6}),
        ("lower_of", {10: 6, 3: 3, 6: 6}),
    ],
)
async def test_the_charge_follows_its_basis_when_the_price_changes_meanwhile(
    setup: DatabaseSetup, basis: ChargeBasis, charges: dict[int, int]
) -> None:
    for later, charge in charges.items():
        await setup.set_price(6)
        job = await generating(setup)
        await setup.set_price(later)
        before, _ = await setup.money()
        settled = await setup.settle(job, basis=basis)
        assert settled.credits_charged == charge
        assert await setup.money() == (before - charge, 0)
        row = (await setup.sql("SELECT * FROM jobs WHERE id = $1", job.id))[0]
        assert (row["charge_basis"], row["credits_quoted"]) == (basis, 6)
        version = "SELECT credits FROM pricing_history WHERE id = $1"
        assert await setup.value(version, settled.price_id) == charge
        assert (settled.price_id == row["quoted_price_id"]) == (charge == 6)
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("basis", ["current", "quoted", "lower_of"])
async def test_fewer_images_are_charged_by_their_own_price_where_there_is_one(
    setup: DatabaseSetup, basis: ChargeBasis
) -> None:
    for asked, images, charge in (
        *((4, 2, 7), (4, 1, 6), (4, 3, 8), (4, 4, 8), (2, 1, 6)),
        *((2, 4, 7), (4, 9, 8)),  # more than asked is a gift
    ):
        settled = await setup.settle(await generating(setup, asked), images=images, basis=basis)
        assert settled.credits_charged == charge, (asked, images)
        assert len(settled.result_urls) == images
    assert await setup.broken_invariants() == {}


async def test_fewer_images_under_quoted_cost_what_they_cost_at_enqueue(
    setup: DatabaseSetup,
) -> None:
    job = await generating(setup, quantity=4)
    await setup.set_price(100, quantity=2)
    assert (await setup.settle(job, images=2, basis="quoted")).credits_charged == 7
    assert await setup.broken_invariants() == {}


async def test_fewer_images_without_a_price_of_their_own_cost_what_was_asked(
    setup: DatabaseSetup,
) -> None:
    await setup.sql(DROP_PRICE, 1)
    settled = await setup.settle(await generating(setup, quantity=2), images=1)
    assert settled.credits_charged == 7
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("basis", ["current", "quoted", "lower_of"])
async def test_without_a_price_row_the_price_of_the_hold_stands_and_an_alert_is_raised(
    setup: DatabaseSetup, basis: ChargeBasis
) -> None:
    job = await generating(setup)
    await setup.sql(FORCE)
    await setup.sql(DROP_PRICE, 1)
    with structlog.testing.capture_logs() as logs:
        settled = await setup.settle(job, basis=basis)
    assert (settled.credits_charged, settled.price_id) == (6, job.price_id)
    assert [(log["event"], log["log_level"], log["job_id"]) for log in logs] == [
        ("price_row_missing", "critical", str(job.id))
    ]
    assert await setup.broken_invariants() == {}


async def test_with_a_price_row_no_alert_is_raised(setup: DatabaseSetup) -> None:
    with structlog.testing.capture_logs() as logs:
        await setup.settle(await generating(setup))
    assert logs == []


async def test_a_rise_beyond_the_balance_is_delivered_charged_and_owed(
    setup: DatabaseSetup,
) -> None:
    await setup.open_account("poor", 6)
    job = await setup.job_in(JobState.GENERATING, account_id="poor")
    await setup.set_price(10)
    settled = await setup.settle(job)
    assert (settled.state, settled.credits_charged, len(settled.result_urls)) == (
        "succeeded",
        10,
        1,
    )
    assert await setup.money("poor") == (-4, 0)
    with pytest.raises(InsufficientCredits) as caught:
        await setup.enqueue(account_id="poor")
    assert (caught.value.needed, caught.value.available) == (10, -4)
    await setup.billing.grant("poor", Decimal(13), "half of it")
    with pytest.raises(InsufficientCredits):
        await setup.enqueue(account_id="poor")
    await setup.billing.grant("poor", Decimal(1), "the rest")
    await setup.enqueue(account_id="poor")
    assert await setup.money("poor") == (10, 10)
    assert await setup.broken_invariants() == {}


async def test_free_jobs_too_are_refused_while_an_account_owes(setup: DatabaseSetup) -> None:
    await setup.open_account("poor", 6)
    job = await setup.job_in(JobState.GENERATING, account_id="poor")
    await setup.set_price(10)
    await setup.settle(job)
    await setup.set_price(0)
    with pytest.raises(InsufficientCredits):
        await setup.enqueue(account_id="poor")


async def test_settled_twice_is_charged_once(setup: DatabaseSetup) -> None:
    job = await generating(setup)
    settled = await setup.settle(job)
    before = await setup.snapshot()
    with pytest.raises(StaleJob):
        await setup.settle(job)
    assert await setup.snapshot() == before
    assert await setup.store.load(job.id) == settled


@pytest.mark.parametrize("rivals", ["settle", "settle and fail", "cancel and claim"])
async def test_of_ends_that_come_at_once_exactly_one_counts(
    setup: DatabaseSetup, rivals: str
) -> None:
    for _ in range(5):
        queued = rivals == "cancel and claim"
        job = await setup.job_in(JobState.QUEUED if queued else JobState.GENERATING)
        first, second = {
            "settle": (job_events.Completed, job_events.Completed),
            "settle and fail": (job_events.Completed, job_events.ProviderFailed),
            "cancel and claim": (job_events.Cancelled, job_events.Claimed),
        }[rivals]
        answers = await asyncio.gather(
            *(setup.move(job, one) for one in (first, second) * 4), return_exceptions=True
        )
        # After the claim, a cancel (the first of each two) is a request, which moves nothing.
        moved = [
            one
            for number, one in enumerate(answers)
            if isinstance(one, Job) and (one.is_terminal or number % 2 == 1)
        ]
        assert len(moved) == 1
    assert await setup.broken_invariants() == {}
    balance, held = await setup.money()
    jobs = [await setup.store.load(row["id"]) for row in await setup.sql("SELECT id FROM jobs")]
    assert balance == 1_000 - sum(job.credits_charged or 0 for job in jobs)
    assert held == sum(job.credits_quoted for job in jobs if not job.is_terminal)


@pytest.mark.parametrize("kind", ["capture", "release", "hold"])
async def test_money_of_a_job_cannot_move_a_second_time_even_by_hand(
    setup: DatabaseSetup, kind: str
) -> None:
    await setup.settle(await generating(setup))
    change = {"capture": (-6, 0), "release": (0, -6), "hold": (0, 6)}[kind]
    refusal = await setup.refuses(
        "INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change,"
        " held_change, balance_after, held_after, price_id)"
        " SELECT 'acme', jobs.id, $1, 6, $2, $3, 0, 0, price_id FROM jobs",
        kind,
        *(Decimal(one) for one in change),
        sqlstate="23505",
    )
    assert refusal.constraint in {
        "ledger_entries_one_of_each_kind_per_job",
        "ledger_entries_a_hold_ends_once",
    }


async def test_a_release_that_would_leave_less_than_nothing_held_changes_nothing(
    setup: DatabaseSetup,
) -> None:
    job = await generating(setup)
    await setup.sql("UPDATE accounts SET held = 0")  # as no code of ours does
    before = await setup.snapshot()
    with pytest.raises(DatabaseRefused) as caught:
        await setup.store.settle(polled(job), completed(), "current")
    assert caught.value.constraint == "held_must_not_be_negative"
    assert await setup.snapshot() == before


async def test_a_worker_of_before_settles_by_the_same_function(setup: DatabaseSetup) -> None:
    """Its call does not say when Kie was done, or what it cost. One function remains."""
    job = await generating(setup)
    settled = await setup.sql(
        "SELECT * FROM darkroom_settle_jobs('0', ARRAY[$1::uuid], ARRAY[1],"
        " ARRAY['[\"https://images.example/1.png\"]'], ARRAY[1], ARRAY[NULL::text],"
        " '{generating}', 'succeeded', 'current', 'completed')",
        job.id,
    )
    assert [row["credits_charged"] for row in settled] == [6]
    assert await setup.value("SELECT provider_finished_at FROM jobs") is None
    assert await setup.value("SELECT consumed_credits FROM jobs") is None
    assert await setup.money() == (994, 0)
    assert await setup.broken_invariants() == {}
    functions = "SELECT count(*) FROM pg_proc WHERE proname = 'darkroom_settle_jobs'"
    assert await setup.value(functions) == 1
