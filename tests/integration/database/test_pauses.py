"""Pauses as rows: what the functions refuse, what they store, and what a claim is refused for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from producer import AccountNotFound, Actor, InvalidRequest, NotFound, Pause
from producer.pauses import PauseAdmin, PauseScope
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import StaleJob
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import eventually
from worker.limits.active_pauses import JobPaused, KieAccountPaused

MODEL = "gpt-4o-image"
MARIA = Actor("maria", via="cli", is_operator=True, origin="office-7")
SCOPES: tuple[tuple[PauseScope, str | None], ...] = (
    ("everything", None),
    ("model", MODEL),
    ("account", "acme"),
    ("kie_account", "default"),
)
EVERY_SCOPE = pytest.mark.parametrize(("scope", "value"), SCOPES, ids=[one for one, _ in SCOPES])


@pytest.fixture
def pauses(setup: DatabaseSetup) -> PauseAdmin:
    return PauseAdmin(setup.database)


async def claim(setup: DatabaseSetup, job: Job, kie_account: str = "default") -> Job:
    return await setup.store.claim(job, job_events.Claimed(uuid4().hex, "worker-1", kie_account))


async def row_of(setup: DatabaseSetup, job: Job) -> object:
    rows = await setup.sql("SELECT to_jsonb(jobs)::text AS row FROM jobs WHERE id = $1", job.id)
    attempts = await setup.sql("SELECT count(*) FROM job_attempts WHERE job_id = $1", job.id)
    return rows[0]["row"], attempts[0]["count"]


async def has_passed(setup: DatabaseSetup, pause: Pause) -> None:
    """Let the end of the pause have passed."""
    await setup.sql(
        "UPDATE pauses SET paused_at = now() - interval '2 s', until = now() - interval '1 s'"
        " WHERE id = $1",
        pause.id,
    )


# --- the guard of the claim -----------------------------------------------------------------


@EVERY_SCOPE
async def test_a_paused_job_is_not_claimed_and_nothing_of_it_is_written(
    setup: DatabaseSetup, pauses: PauseAdmin, scope: PauseScope, value: str | None
) -> None:
    job = await setup.enqueue()
    pause = await pauses.pause(scope, value, reason="Kie bills twice", actor=MARIA)
    before = await row_of(setup, job)
    error = KieAccountPaused if scope == "kie_account" else JobPaused
    with pytest.raises(error):
        await claim(setup, job)
    assert await row_of(setup, job) == before
    await pauses.resume(pause.id)
    assert (await claim(setup, job)).state is JobState.SUBMITTING


async def test_a_pause_concerns_nobody_else(setup: DatabaseSetup, pauses: PauseAdmin) -> None:
    await setup.open_account("bolt")
    await pauses.pause("account", "bolt", reason="they asked")
    await setup.sql(
        "UPDATE jobs SET model = 'other-model' WHERE id = $1", (await setup.enqueue()).id
    )
    await pauses.pause("model", "other-model", reason="broken")
    await pauses.pause("kie_account", "default", reason="retired")
    other, stopped = await setup.enqueue(), await setup.enqueue(account_id="bolt")
    assert (await claim(setup, other, "studio")).state is JobState.SUBMITTING
    with pytest.raises(JobPaused):
        await claim(setup, stopped, "studio")


async def test_a_claim_in_a_batch_takes_only_those_that_no_pause_concerns(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    await setup.open_account("bolt")
    await pauses.pause("account", "acme", reason="they asked")
    jobs = [await setup.enqueue(account_id=name) for name in ("acme", "bolt", "acme", "bolt")]
    outcomes = await asyncio.gather(*(claim(setup, one) for one in jobs), return_exceptions=True)
    assert [isinstance(one, JobPaused) for one in outcomes] == [True, False, True, False]


async def test_a_job_is_claimed_when_the_last_of_its_pauses_has_ended(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    job = await setup.enqueue()
    first = await pauses.pause("everything", reason="one")
    second = await pauses.pause("account", "acme", reason="two")
    await pauses.resume(first.id)
    with pytest.raises(JobPaused):
        await claim(setup, job)
    await pauses.resume(second.id)
    assert (await claim(setup, job)).attempt == 1


async def test_a_pause_ends_at_until_by_the_clock_of_postgres(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    job = await setup.enqueue()
    pause = await pauses.pause("everything", reason="an hour", for_seconds=3600)
    assert pause.until is not None
    (row,) = await setup.sql("SELECT until - now() AS left FROM pauses")
    assert row["left"] == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=30))
    with pytest.raises(JobPaused):
        await claim(setup, job)
    await has_passed(setup, pause)
    assert await pauses.active() == []
    assert (await claim(setup, job)).state is JobState.SUBMITTING


@pytest.mark.parametrize("state", [JobState.SUBMITTING, JobState.UNKNOWN, JobState.GENERATING])
async def test_what_kie_may_already_have_continues_while_everything_is_paused(
    setup: DatabaseSetup, pauses: PauseAdmin, state: JobState
) -> None:
    job = await setup.job_in(state)
    for scope, value in SCOPES:
        await pauses.pause(scope, value, reason="all of it")
    if state is not JobState.GENERATING:
        job = await setup.store.record_submitted(job, job_events.Submitted("task-1", 60))
    settled = await setup.settle(job)
    assert settled.state is JobState.SUCCEEDED


async def test_a_paused_job_is_cancelled_at_once_and_its_hold_released(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    job = await setup.enqueue()
    await pauses.pause("everything", reason="why not")
    assert (await setup.book.cancel(job.id)).state is JobState.CANCELLED
    assert (await setup.billing.account("acme")).held == 0


async def test_a_job_that_somebody_else_claimed_is_stale_and_not_paused(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    job = await setup.enqueue()
    await claim(setup, job)
    await pauses.pause("everything", reason="later")
    with pytest.raises(StaleJob):
        await claim(setup, job)


# --- what is stored -------------------------------------------------------------------------


@EVERY_SCOPE
async def test_a_pause_and_its_end_name_who_why_and_when(
    setup: DatabaseSetup, pauses: PauseAdmin, scope: PauseScope, value: str | None
) -> None:
    pause = await pauses.pause(scope, value, reason=" Kie bills twice ", actor=MARIA)
    assert (pause.scope, pause.value, pause.reason) == (scope, value, "Kie bills twice")
    assert (pause.paused_by, pause.until, pause.is_active) == ("maria", None, True)
    ended = await pauses.resume(pause.id, actor="omar")
    assert (ended.resumed_by, ended.is_active) == ("omar", False)
    assert ended.resumed_at is not None
    entries = (await setup.billing.audit(limit=2))[::-1]
    told = [(one["act"], one["actor"], one["subject"], one["account_id"]) for one in entries]
    of_account = value if scope == "account" else None
    assert told == [
        ("queue_paused", "maria", f"pauses {pause.id}", of_account),
        ("queue_resumed", "omar", f"pauses {pause.id}", of_account),
    ]
    assert [one["reason"] for one in entries] == ["Kie bills twice", None]


async def test_the_same_call_again_makes_no_second_pause(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    first = await pauses.pause("account", "acme", reason="why", for_seconds=600)
    again = await pauses.pause("account", "acme", reason="why", for_seconds=60)
    assert again == first
    # A longer one stands beside it, and another reason does: neither undoes the other.
    longer = await pauses.pause("account", "acme", reason="why", for_seconds=6000)
    other = await pauses.pause("account", "acme", reason="another")
    assert [one.id for one in await pauses.active()] == [first.id, longer.id, other.id]
    assert [one["act"] for one in await setup.billing.audit(limit=4)].count("queue_paused") == 3


async def test_ten_equal_calls_of_one_moment_make_one_pause(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    made = await asyncio.gather(
        *(pauses.pause("everything", reason="panic", actor=f"op-{n}") for n in range(10))
    )
    assert len({one.id for one in made}) == 1
    assert len(await setup.sql("SELECT FROM pauses")) == 1


async def test_a_repeated_call_waits_for_the_first_and_finds_its_pause(
    setup: DatabaseSetup, pauses: PauseAdmin, database_url: str
) -> None:
    first = await asyncpg.connect(database_url)
    try:
        async with first.transaction():
            made = await first.fetchval(
                "SELECT id FROM darkroom_pause('everything', NULL, 'panic')"
            )
            again = asyncio.create_task(pauses.pause("everything", reason="panic"))

            async def waits() -> bool:
                return bool(await setup.sql("SELECT FROM pg_locks WHERE NOT granted"))

            await eventually(waits, "the second call waits")
        assert (await again).id == made
    finally:
        await first.close()


async def test_a_resume_ends_exactly_its_scope_and_a_second_one_changes_nothing(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    await setup.open_account("bolt")
    made = [
        await pauses.pause("account", "acme", reason="one"),
        await pauses.pause("account", "acme", reason="two"),
        await pauses.pause("account", "bolt", reason="one"),
        await pauses.pause("everything", reason="one"),
    ]
    ids = [one.id for one in made]
    ended = await pauses.resume_scope("account", "acme", actor=MARIA)
    assert sorted(one.id for one in ended) == ids[:2]
    assert [one.id for one in await pauses.active()] == ids[2:]
    assert await pauses.resume_scope("account", "acme") == []
    first = await pauses.resume(ids[2], actor=MARIA)
    assert await pauses.resume(ids[2], actor="omar") == first
    with pytest.raises(NotFound, match="no pause has the id 999"):
        await pauses.resume(999)


async def test_the_end_of_a_pause_that_has_passed_is_not_rewritten(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    pause = await pauses.pause("everything", reason="short", for_seconds=60)
    await has_passed(setup, pause)
    ended = await pauses.resume(pause.id, actor=MARIA)
    assert (ended.resumed_at, ended.resumed_by, ended.is_active) == (None, None, False)


async def test_the_list_has_ended_pauses_too_newest_first_in_pages(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    ids = [(await pauses.pause("everything", reason=f"{number}")).id for number in range(5)]
    await pauses.resume(ids[4])
    page, below = await pauses.page(limit=2)
    assert [(one.id, one.is_active) for one in page] == [(ids[4], False), (ids[3], True)]
    rest, end = await pauses.page(below=below, limit=3)
    assert ([one.id for one in rest], end) == (ids[2::-1], None)


# --- what is refused ------------------------------------------------------------------------


async def test_a_value_that_does_not_exist_is_refused_with_what_there_is(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    with pytest.raises(
        InvalidRequest, match=r"value: no model is named .*; there is: .*gpt-4o-image,"
    ):
        await pauses.pause("model", "gpt-4o-imag", reason="why")
    with pytest.raises(AccountNotFound, match="amce"):
        await pauses.pause("account", "amce", reason="why")
    with pytest.raises(InvalidRequest, match="no Kie account is named 'studio'; there is: default"):
        await pauses.pause("kie_account", "studio", reason="why")
    with pytest.raises(AccountNotFound):
        await pauses.resume_scope("account", "amce")
    with pytest.raises(InvalidRequest, match="value: a pause of everything has no value"):
        await pauses.pause("everything", "acme", reason="why")
    with pytest.raises(InvalidRequest, match="value: a pause of account has a value"):
        await pauses.pause("account", reason="why")
    with pytest.raises(InvalidRequest, match="scope: no scope is named 'all'"):
        await pauses.pause("all", reason="why")  # type: ignore[arg-type]
    assert await setup.sql("SELECT FROM pauses") == []


async def test_a_kie_account_is_known_by_what_workers_have_said(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    await setup.sql(
        "INSERT INTO processes (id, kind, name, version, redis, key_fingerprints) VALUES"
        " (gen_random_uuid(), 'worker', 'a:1', '1', 'r', '{\"default\": \"x\", \"studio\": \"y\"}')"
    )
    assert (await pauses.pause("kie_account", "studio", reason="retired")).value == "studio"
    with pytest.raises(InvalidRequest, match="there is: default, studio"):
        await pauses.pause("kie_account", "stduio", reason="retired")


async def test_a_model_without_a_price_can_be_paused_while_jobs_of_it_wait(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    job = await setup.enqueue()
    await setup.sql("UPDATE jobs SET model = 'retired-model' WHERE id = $1", job.id)
    assert (await pauses.pause("model", "retired-model", reason="gone")).is_active


async def test_times_and_reasons_that_cannot_be_are_refused(
    setup: DatabaseSetup, pauses: PauseAdmin
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=5)
    with pytest.raises(InvalidRequest, match=r"until: .* has passed"):
        await pauses.pause("everything", reason="why", until=past)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(InvalidRequest, match="reason: "):
            await pauses.pause("everything", reason=reason)
    for seconds in (0, 0.5, -1, float("nan"), float("inf"), 1e12):
        with pytest.raises(InvalidRequest, match="for_seconds: "):
            await pauses.pause("everything", reason="why", for_seconds=seconds)
    soon = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(InvalidRequest, match="give one of them"):
        await pauses.pause("everything", reason="why", until=soon, for_seconds=1)
    with pytest.raises(InvalidRequest, match="has no timezone"):
        await pauses.pause("everything", reason="why", until=soon.replace(tzinfo=None))
    for call in (
        "darkroom_pause('everything', NULL, '')",
        "darkroom_pause('everything', NULL, NULL)",
        "darkroom_pause('everything', NULL, 'why', now() - interval '1 s')",
        "darkroom_pause(NULL, NULL, 'why')",
    ):
        await setup.refuses(f"SELECT * FROM {call}")
    assert await setup.sql("SELECT FROM pauses") == []
