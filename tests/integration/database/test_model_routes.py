"""Routes of models as rows: which claims are refused, which waits a change ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason
from shared.errors import DatabaseRefused
from tests.integration.database.database_setup import DatabaseSetup
from worker.limits.model_routes import RouteChanged

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
OLD_WORKER_CLAIM = (
    "SELECT id FROM darkroom_claim_jobs('0', ARRAY[$1::uuid], ARRAY[$2], ARRAY['default'],"
    " '{queued}', 'submitting', 'old-worker', 'claimed')"
)


async def claim(setup: DatabaseSetup, job: Job, route: str | None) -> Job:
    return await setup.store.claim(
        job, job_events.Claimed(uuid4().hex, "worker-1", "default", route)
    )


async def attempt_route(setup: DatabaseSetup, job: Job) -> object:
    return await setup.value(
        "SELECT route FROM job_attempts WHERE job_id = $1 ORDER BY number DESC LIMIT 1", job.id
    )


async def wait_seconds(setup: DatabaseSetup, job: Job) -> float:
    value = await setup.value(
        "SELECT extract(epoch FROM due_at - now())::double precision FROM jobs WHERE id = $1",
        job.id,
    )
    return float(value)


async def deferred(
    setup: DatabaseSetup,
    job: Job,
    route: str | None = None,
    reason: Reason = Reason.WRONG_ENDPOINT,
) -> Job:
    """Let an attempt be answered by something that is not Kie's endpoint."""
    claimed = await claim(setup, job, route)
    event = job_events.Deferred(reason, "HTTP 404", 300)
    return await setup.store.record_deferred(claimed, event)


async def unfit(setup: DatabaseSetup, job: Job, route: str = ROUTE) -> Job:
    event = job_events.RouteUnfit(route, "quantity: is 2", 3600)
    return await setup.store.record_route_unfit(job, event)


# --- the guard of the claim -----------------------------------------------------------------


async def test_a_claim_says_by_which_route_it_is_sent_and_is_refused_for_any_other(
    setup: DatabaseSetup,
) -> None:
    first, second, third = [await setup.enqueue() for _ in range(3)]
    assert (await claim(setup, first, None)).route is None
    with pytest.raises(RouteChanged):
        await claim(setup, second, ROUTE)
    await setup.route(ROUTE)
    with pytest.raises(RouteChanged):
        await claim(setup, second, None)
    claimed = await claim(setup, second, ROUTE)
    assert (claimed.route, claimed.attempt) == (ROUTE, 1)
    assert await setup.store.load(second.id) == claimed
    assert await attempt_route(setup, second) == ROUTE
    await setup.route(MODEL)
    with pytest.raises(RouteChanged):
        await claim(setup, third, ROUTE)
    assert (await claim(setup, third, None)).route is None
    assert [await attempt_route(setup, one) for one in (first, second, third)] == [
        None,
        ROUTE,
        None,
    ]


async def test_claims_by_both_routes_in_one_batch_are_each_judged_by_themselves(
    setup: DatabaseSetup,
) -> None:
    await setup.route(ROUTE)
    jobs = [await setup.enqueue() for _ in range(4)]
    routes = [None, ROUTE, None, ROUTE]
    claims = (claim(setup, job, route) for job, route in zip(jobs, routes, strict=True))
    outcomes = await asyncio.gather(*claims, return_exceptions=True)
    assert [isinstance(one, RouteChanged) for one in outcomes] == [True, False, True, False]


async def test_a_worker_that_knows_no_routes_sends_by_the_models_own_family(
    setup: DatabaseSetup,
) -> None:
    await setup.route(ROUTE)
    job = await setup.enqueue()
    assert await setup.sql(OLD_WORKER_CLAIM, job.id, uuid4().hex)
    assert await attempt_route(setup, job) is None
    assert (await setup.store.load(job.id)).route is None


async def test_the_route_of_a_job_is_that_of_its_newest_attempt(setup: DatabaseSetup) -> None:
    job = await deferred(setup, await setup.enqueue())
    await setup.route(ROUTE)
    again = await claim(setup, await setup.store.load(job.id), ROUTE)
    assert (again.attempt, again.route) == (2, ROUTE)
    routes = await setup.sql("SELECT route FROM job_attempts ORDER BY number")
    assert [row["route"] for row in routes] == [None, ROUTE]
    details = await setup.sql(
        "SELECT detail ->> 'route' AS route FROM job_events WHERE event = 'claimed' ORDER BY id"
    )
    assert [row["route"] for row in details] == [None, ROUTE]


# --- jobs that wait -------------------------------------------------------------------------


async def test_a_change_of_the_route_ends_the_wait_of_jobs_that_met_a_foreign_endpoint(
    setup: DatabaseSetup,
) -> None:
    job = await deferred(setup, await setup.enqueue())
    assert await wait_seconds(setup, job) > 200
    await setup.route(ROUTE)
    assert await wait_seconds(setup, job) <= 0
    assert (await setup.store.load(job.id)).reason is None


async def test_other_waits_are_not_ended(setup: DatabaseSetup) -> None:
    limited = await claim(setup, await setup.enqueue(), None)
    limited = await setup.store.record_deferred(
        limited, job_events.Deferred("rate_limited", "slow down", 300)
    )
    later = await setup.enqueue(run_at=datetime.now(UTC) + timedelta(hours=1))
    await setup.route(ROUTE)
    assert await wait_seconds(setup, limited) > 200
    assert await wait_seconds(setup, later) > 3000


async def test_a_change_of_the_route_ends_the_wait_for_a_model_that_kie_has_withdrawn(
    setup: DatabaseSetup,
) -> None:
    job = await deferred(setup, await setup.enqueue(), None, Reason.MODEL_GONE)
    assert await wait_seconds(setup, job) > 200
    await setup.route(ROUTE)
    assert await wait_seconds(setup, job) <= 0


@pytest.mark.parametrize("reason", [Reason.WRONG_ENDPOINT, Reason.MODEL_GONE])
async def test_an_attempt_by_the_route_before_that_fails_after_the_change_waits_no_more(
    setup: DatabaseSetup, reason: Reason
) -> None:
    job = await claim(setup, await setup.enqueue(), None)
    await setup.route(ROUTE)
    event = job_events.Deferred(reason, "HTTP 404", 300)
    await setup.store.record_deferred(job, event)
    assert await wait_seconds(setup, job) <= 0
    by_the_new_one = await deferred(setup, await setup.enqueue(), ROUTE, reason)
    assert await wait_seconds(setup, by_the_new_one) > 200


async def test_a_job_that_its_route_cannot_carry_waits_with_its_hold_until_the_route_changes(
    setup: DatabaseSetup,
) -> None:
    await setup.route(ROUTE)
    money = await setup.money()
    job = await setup.enqueue()
    held = await setup.money()
    assert held != money
    waiting = await unfit(setup, job)
    assert (waiting.state, waiting.reason) == (JobState.QUEUED, Reason.ROUTE_UNFIT)
    assert await setup.money() == held
    assert await wait_seconds(setup, job) > 3000
    await unfit(setup, job)
    events = "SELECT count(*) FROM job_events WHERE event = 'route_unfit'"
    assert await setup.value(events) == 1
    await setup.route(MODEL)
    assert await wait_seconds(setup, job) <= 0
    freed = await setup.store.load(job.id)
    assert (freed.state, freed.reason, freed.message) == (JobState.QUEUED, None, None)
    assert (await claim(setup, freed, None)).attempt == 1


async def test_no_job_waits_for_a_route_that_is_not_in_force(setup: DatabaseSetup) -> None:
    job = await setup.enqueue()
    with pytest.raises(RouteChanged):
        await unfit(setup, job)
    await setup.route(ROUTE)
    with pytest.raises(RouteChanged):
        await unfit(setup, job, "another-family")
    assert (await setup.store.load(job.id)).reason is None


async def test_a_job_that_waits_for_its_route_is_cancelled_at_once_and_its_hold_released(
    setup: DatabaseSetup,
) -> None:
    await setup.route(ROUTE)
    job = await setup.enqueue()
    await unfit(setup, job)
    assert (await setup.book.cancel(job.id)).state is JobState.CANCELLED
    assert (await setup.billing.account("acme")).held == 0


async def test_a_locked_job_does_not_hold_up_a_change_and_its_wait_is_ended_afterwards(
    setup: DatabaseSetup,
) -> None:
    job = await deferred(setup, await setup.enqueue())
    async with setup.database.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", job.id)
        await setup.route(ROUTE)
    assert await wait_seconds(setup, job) > 200
    assert await setup.value("SELECT darkroom_end_route_waits($1)", MODEL) == 1
    assert await wait_seconds(setup, job) <= 0
    assert await setup.value("SELECT darkroom_end_route_waits($1)", MODEL) == 0


# --- the rows -------------------------------------------------------------------------------


async def test_an_equal_choice_changes_nothing_and_notes_no_act(setup: DatabaseSetup) -> None:
    assert await setup.sql("SELECT * FROM darkroom_route_model($1, $1)", MODEL) == []
    await setup.route(ROUTE)
    before = await setup.snapshot()
    (row,) = await setup.sql("SELECT * FROM darkroom_route_model($1, $2, 'other')", MODEL, ROUTE)
    assert (row["via"], row["reason"]) == (ROUTE, "why")
    assert await setup.snapshot() == before


async def test_each_change_is_an_act_with_the_route_before_and_after(setup: DatabaseSetup) -> None:
    await setup.route(ROUTE)
    await setup.route(MODEL)
    back, there = await setup.billing.audit(limit=2)
    assert (there["act"], there["subject"], there["reason"]) == (
        "model_routed",
        f"model {MODEL}",
        "why",
    )
    assert (there["before"], there["after"]) == ({"via": MODEL}, {"via": ROUTE})
    assert (back["before"], back["after"]) == ({"via": ROUTE}, {"via": MODEL})
    assert await setup.sql("SELECT * FROM active_routes") == []
    assert await setup.value("SELECT count(*) FROM model_routes") == 2


@pytest.mark.parametrize(
    ("call", "sqlstate"),
    [
        ("darkroom_route_model('gpt-4o-image', 'no-such-family')", "DR001"),
        ("darkroom_route_model('gpt-4o-image', NULL)", "DR001"),
        ("darkroom_route_model('no-such-model', '4o-image-api')", "DR404"),
        ("darkroom_route_model(NULL, '4o-image-api')", "DR404"),
        ("darkroom_route_model('gpt-4o-image', '4o-image-api', repeat('x', 501))", "DR001"),
    ],
)
async def test_a_route_that_cannot_be_is_refused_and_nothing_changes(
    setup: DatabaseSetup, call: str, sqlstate: str
) -> None:
    error = await setup.refuses(f"SELECT * FROM {call}", sqlstate=sqlstate)
    assert isinstance(error, DatabaseRefused)


async def test_two_choices_at_once_leave_one_row(setup: DatabaseSetup) -> None:
    await asyncio.gather(*(setup.route(ROUTE) for _ in range(5)))
    assert await setup.value("SELECT count(*) FROM model_routes") == 1


# --- money at Kie ---------------------------------------------------------------------------


async def test_what_kie_is_expected_to_take_is_the_price_of_the_family_that_sends(
    setup: DatabaseSetup,
) -> None:
    await setup.sql_confirmed(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('4o-image-api', 'text-to-image', 1, 20, 11)"
        " ON CONFLICT (model, task, quantity, variant) DO UPDATE SET provider_credits = 11"
    )
    own = await setup.value("SELECT provider_credits FROM pricing WHERE model = $1 LIMIT 1", MODEL)
    old, waiting = await setup.enqueue(), await setup.enqueue()
    await claim(setup, old, None)
    (before,) = await setup.database.fetch("balance_needed")
    assert before["needed"] == own
    await setup.route(ROUTE)
    (after,) = await setup.database.fetch("balance_needed")
    assert after["needed"] == 11
    await claim(setup, waiting, ROUTE)
    rows = await setup.database.fetch("attempts_that_may_cost", old.created_at, 60.0, "default")
    assert sorted(row["credits"] for row in rows) == sorted([own, 11])
    assert (await setup.store.load(waiting.id)).credits_quoted == old.credits_quoted
