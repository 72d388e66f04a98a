"""Data of ended jobs is pruned by age, and nothing that is needed, owed or counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from producer.jobs.job_retries import build_retry_order
from shared.adapters.postgres.database import connect_database
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused, IdempotencyConflict, StateConflict
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import ALL_KINDS, age, kept_rows, prune
from tests.support.deployment import text_to_image

HOOK = "https://hooks.example/darkroom"
ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
OPEN = tuple(state for state in JobState if state not in ENDED)


async def old_job(
    setup: DatabaseSetup, state: JobState = JobState.SUCCEEDED, **options: Any
) -> Job:
    job = await setup.job_in(state, metadata={"order": 7}, **options)
    await age(setup, job.id)
    return await setup.book.get(job.id)


async def call_back(setup: DatabaseSetup, job: Job, *, verdict: str | None) -> None:
    await setup.sql(
        "INSERT INTO callback_inbox (token, provider_task_id, handled_at, verdict)"
        " SELECT token, 'a task', CASE WHEN $2::text IS NOT NULL THEN now() END, $2"
        " FROM job_attempts WHERE job_id = $1",
        job.id,
        verdict,
    )


async def rows_of(setup: DatabaseSetup, table: str, job_id: UUID) -> int:
    found = await setup.value(f"SELECT count(*) FROM {table} WHERE job_id = $1", job_id)
    assert isinstance(found, int)
    return found


# --- what is pruned -------------------------------------------------------------------------------


async def test_a_pruned_job_keeps_its_state_its_times_and_its_money(setup: DatabaseSetup) -> None:
    jobs = [await old_job(setup, state, idempotency_key=f"key {state}") for state in ENDED]
    await setup.sql("SELECT darkroom_refund_job($1, 'blurred', 2)", jobs[0].id)
    for _ in range(3):
        await setup.sql("SELECT darkroom_sum_settlements()")
    before = await kept_rows(setup)
    pruned = await prune(setup)
    assert (pruned["prompts"], pruned["jobs"]) == (3, 3)
    assert await kept_rows(setup) == before
    for job in jobs:
        now = await setup.book.get(job.id)
        assert (now.request, now.metadata, now.message, now.result_urls) == ({}, {}, None, ())
        assert (now.idempotency_key, now.webhook_url) == (job.idempotency_key, None)
        assert now.pruned_at is not None
        assert await rows_of(setup, "job_events", job.id) == 0
    assert await setup.broken_invariants() == {}
    assert await prune(setup) == {}


async def test_each_kind_has_its_own_days(setup: DatabaseSetup) -> None:
    job = await old_job(setup, webhook_url=HOOK)
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    await call_back(setup, job, verdict="hastened")
    events = await rows_of(setup, "job_events", job.id)
    kept = dict.fromkeys(ALL_KINDS, 101)
    assert await prune(setup, kept) == {}
    assert await prune(setup, {**kept, "events": 99}) == {"events": events}
    assert await prune(setup, {**kept, "callbacks": 99}) == {"callbacks": 1}
    assert await prune(setup, {**kept, "webhooks": 99}) == {"webhooks": 1}
    assert await setup.broken_invariants() == {}
    assert (await setup.book.get(job.id)).pruned_at is None
    assert await prune(setup, {**kept, "prompts": 99}) == {"prompts": 1}
    now = await setup.book.get(job.id)
    assert (now.request, now.result_urls, now.webhook_url) == ({}, job.result_urls, HOOK)
    assert await prune(setup, {**kept, "jobs": 99}) == {"jobs": 1}
    assert await prune(setup, {}) == {}


async def test_the_jobs_of_a_kind_are_pruned_in_batches_the_oldest_first(
    setup: DatabaseSetup,
) -> None:
    jobs = [await setup.job_in(JobState.FAILED) for _ in range(5)]
    for job, days in zip(jobs, (300, 100, 200, 200, 20), strict=True):
        await age(setup, job.id, days=days)
    given = orjson.dumps({"prompts": 90}).decode()
    for pruned in ({0, 2}, {0, 1, 2, 3}, {0, 1, 2, 3}):
        await setup.sql("SELECT darkroom_prune_at_interval($1, 2)", given)
        ended = [await setup.book.get(job.id) for job in jobs]
        assert {n for n, one in enumerate(ended) if one.pruned_at is not None} == pruned


@pytest.mark.parametrize(
    "days",
    [
        {"events": 0},
        {"prompts": -1},
        {"jobs": 1.5},
        {"jobs": "90 days"},
        {"event": 90},
        {"jobs": 36501},
    ],
    ids=str,
)
async def test_days_that_say_nothing_sensible_are_refused_by_what_prunes_and_what_counts(
    setup: DatabaseSetup, days: dict[str, object]
) -> None:
    await old_job(setup)
    text = orjson.dumps(days).decode()
    for statement in (
        "SELECT darkroom_prune($1, 500)",
        "SELECT darkroom_prune_at_interval($1, 500)",
        "SELECT darkroom_count_prunable($1)",
    ):
        refusal = await setup.refuses(statement, text)
        assert refusal.constraint == "what_is_pruned_is_kept_before"


# --- what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", OPEN)
async def test_an_open_job_is_never_pruned_however_old(
    setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state, idempotency_key="one")
    await setup.sql(
        "UPDATE jobs SET created_at = now() - interval '9 years', updated_at = created_at"
    )
    before = await setup.snapshot()
    assert await prune(setup) == {}
    # Nor where somebody names it.
    await setup.sql("SELECT darkroom_prune_jobs('jobs', ARRAY[$1::uuid])", job.id)
    assert await setup.snapshot() == before
    for change in ("pruned_at = now(), request = '{}', metadata = '{}'", "reduced_at = now()"):
        with pytest.raises(DatabaseRefused):
            await setup.sql(f"UPDATE jobs SET {change} WHERE id = $1", job.id)


NEEDS = {
    "a webhook that is not delivered": "UPDATE webhook_messages SET state = 'pending'",
    "a task at Kie that may still deliver": (
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id, noted_at, next_check_at)"
        " SELECT job_id, number, 'late', now(), now() FROM job_attempts"
    ),
    "a task in doubt": (
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id, noted_at, next_check_at,"
        " outcome, ended_at, in_doubt_since)"
        " SELECT job_id, number, 'late', now(), now(), 'unproven', now(), now() FROM job_attempts"
    ),
    "a callback that is not handled": (
        "INSERT INTO callback_inbox (token, provider_task_id)"
        " SELECT token, 'a task' FROM job_attempts"
    ),
    "an image that is not copied": (
        "INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url)"
        " SELECT id, 1, attempt, 'a task', 'https://images.example/0.png' FROM jobs"
    ),
    "an end that is not announced": "UPDATE jobs SET images_due_at = now()",
}
ENDS = (
    "UPDATE webhook_messages SET state = 'dead'",
    "UPDATE late_tasks SET outcome = 'failed', ended_at = now(), in_doubt_since = NULL",
    "UPDATE callback_inbox SET verdict = 'late', handled_at = now()",
    "UPDATE job_images SET state = 'failed'",
    "UPDATE jobs SET images_due_at = NULL",
)


@pytest.mark.parametrize("need", NEEDS)
async def test_an_ended_job_is_held_back_while_it_is_needed(
    setup: DatabaseSetup, need: str
) -> None:
    job = await old_job(setup, webhook_url=HOOK)
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    await setup.sql(NEEDS[need])
    await old_job(setup)
    before = await setup.book.get(job.id)
    assert (await prune(setup))["jobs"] == 1
    assert await setup.book.get(job.id) == before
    assert await rows_of(setup, "webhook_messages", job.id) == 1
    (counted,) = await setup.sql("SELECT * FROM darkroom_count_prunable('{\"jobs\": 90}')")
    assert (counted["jobs"], counted["held_back"]) == (0, 1)
    assert await prune(setup) == {}
    for statement in ENDS:
        await setup.sql(statement)
    assert (await prune(setup))["jobs"] == 1
    assert (await setup.book.get(job.id)).pruned_at is not None
    assert await setup.broken_invariants() == {}


async def test_a_callback_that_nobody_handles_any_more_stays_for_people(
    setup: DatabaseSetup,
) -> None:
    job = await old_job(setup)
    await call_back(setup, job, verdict=None)
    await setup.sql("UPDATE callback_inbox SET received_at = now() - interval '2 hours'")
    assert (await prune(setup))["jobs"] == 1
    assert await setup.value("SELECT count(*) FROM callback_inbox") == 1


async def test_events_of_the_last_day_stay_with_their_job(setup: DatabaseSetup) -> None:
    job = await old_job(setup)
    await setup.sql("UPDATE job_events SET at = now()")
    assert await prune(setup, {"events": 90, "jobs": 90}) == {}
    await age(setup, job.id, days=2)
    assert (await prune(setup, {"events": 90, "jobs": 90}))["jobs"] == 1


async def test_images_in_the_store_keep_their_links(setup: DatabaseSetup) -> None:
    job = await old_job(setup)
    await setup.sql(
        "INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url, state, url,"
        " key, content_type, bytes, width, height, sha256, stored_at)"
        " SELECT id, 1, attempt, 'a task', result_urls[1], 'stored', 'https://copies.example/1',"
        " 'k', 'image/png', 9, 1, 1, repeat('0', 64), now() FROM jobs"
    )
    await prune(setup)
    now = await setup.book.get(job.id)
    assert (now.result_urls, now.request) == (job.result_urls, {})
    assert await rows_of(setup, "job_images", job.id) == 1


async def test_an_end_that_was_pruned_stays_as_it_ended(setup: DatabaseSetup) -> None:
    job = await old_job(setup)
    await prune(setup)
    for change in (
        "result_urls = '{https://other.example/1.png}'",
        "credits_charged = 0",
        "pruned_at = NULL",
        "pruned_at = now() + interval '1 day'",
        'request = \'{"prompt": "another"}\'',
    ):
        await setup.refuses(
            f"UPDATE jobs SET {change} WHERE id = $1",
            job.id,
            sqlstate="23514" if change.startswith("request") else "DR001",
        )


# --- keys and retries -----------------------------------------------------------------------------


async def test_a_key_never_orders_twice_also_when_its_job_is_pruned(
    setup: DatabaseSetup,
) -> None:
    first = await old_job(setup, idempotency_key="order-7", webhook_url=HOOK)
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    for days in ({"prompts": 90}, {"jobs": 90}):
        await prune(setup, days)
        again = await setup.enqueue(
            text_to_image(), idempotency_key="order-7", metadata={"order": 7}, webhook_url=HOOK
        )
        assert (again.id, again.request) == (first.id, {})
        with pytest.raises(IdempotencyConflict):
            await setup.enqueue(text_to_image(), idempotency_key="order-7", priority="low")
    assert await setup.value("SELECT count(*) FROM jobs") == 1
    assert await setup.money() == (Decimal(994), 0)


async def test_a_pruned_job_is_not_retried(setup: DatabaseSetup) -> None:
    job = await old_job(setup, JobState.FAILED)
    await prune(setup, {"prompts": 90})
    with pytest.raises(StateConflict, match="its request was pruned at "):
        build_retry_order(await setup.book.get(job.id), again=False)
    # A retry that has read the job before it was pruned.
    with pytest.raises(DatabaseRefused) as caught:
        await setup.enqueue(retry_of=job.id)
    assert caught.value.constraint == "a_pruned_job_is_not_retried"
    found = await setup.sql("SELECT darkroom_find_jobs('{\"retried\": false}', NULL, 10)")
    assert found == []
    assert await setup.money() == (Decimal(1_000), 0)


# --- at the same time -----------------------------------------------------------------------------


async def test_a_job_that_is_locked_is_pruned_later(setup: DatabaseSetup) -> None:
    locked, free = await old_job(setup), await old_job(setup)
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", locked.id)
        assert (await prune(setup))["jobs"] == 1
        assert (await setup.book.get(free.id)).pruned_at is not None
    assert (await prune(setup))["jobs"] == 1


async def test_one_process_prunes_at_a_time_and_a_worker_does_not_wait(
    setup: DatabaseSetup,
) -> None:
    await old_job(setup)
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM retention_progress FOR UPDATE")
        assert await prune(setup) == {}
    assert (await prune(setup))["jobs"] == 1


async def test_a_prune_that_dies_leaves_nothing_half(setup: DatabaseSetup) -> None:
    await old_job(setup, webhook_url=HOOK)
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    before = await setup.snapshot()
    given = orjson.dumps(ALL_KINDS).decode()
    for statements in range(1, 5):
        async with setup.database.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            for _ in range(statements):
                await connection.fetch("SELECT darkroom_prune($1, 500)", given)
            await transaction.rollback()
        assert await setup.snapshot() == before
    await prune(setup)
    assert await setup.broken_invariants() == {}


async def test_pruning_beside_orders_settlements_retries_and_refunds_keeps_the_books(
    setup: DatabaseSetup, database_url: str
) -> None:
    old = [await old_job(setup, state) for state in (*ENDED, *ENDED)]
    generating = [await setup.job_in(JobState.GENERATING) for _ in old]
    refusals: set[str | None] = set()
    async with connect_database(database_url, connections=6) as database:
        other = DatabaseSetup(database)

        async def allow_refusal(act: Awaitable[object]) -> None:
            try:
                await act
            except DatabaseRefused as error:
                refusals.add(error.constraint)

        async def work(number: int) -> None:
            await other.enqueue(idempotency_key=f"new {number}")
            await other.settle(generating[number])
            await allow_refusal(other.sql("SELECT darkroom_refund_job($1, 'why')", old[number].id))
            await other.sql('SELECT darkroom_prune(\'{"jobs": 90, "events": 30}\', 1)')
            await allow_refusal(other.enqueue(retry_of=old[number].id))

        await asyncio.gather(*map(work, range(len(old))))
    await prune(setup)
    assert refusals <= {"only_a_charge_is_refunded", "a_pruned_job_is_not_retried"}
    for job in old:
        assert (await setup.book.get(job.id)).pruned_at is not None
    assert await setup.broken_invariants() == {}


async def test_what_a_person_prunes_is_noted_and_what_a_worker_prunes_is_not(
    setup: DatabaseSetup,
) -> None:
    await old_job(setup)
    await prune(setup, {"prompts": 90})
    assert await setup.billing.audit(act="data_pruned") == []
    by = orjson.dumps({"actor": "maria", "via": "cli"}).decode()
    await setup.sql("SELECT darkroom_prune('{\"events\": 90}', 500, $1::text::jsonb)", by)
    (entry,) = await setup.billing.audit(act="data_pruned")
    assert (entry["actor"], entry["after"]["kind"], entry["after"]["pruned"]) == (
        "maria",
        "events",
        4,
    )


async def test_the_newest_event_may_be_pruned_without_a_report_of_lost_writes(
    setup: DatabaseSetup,
) -> None:
    await old_job(setup)
    (newest,) = await setup.database.fetch("compare_event_mark", None, None)
    mark = (newest["newest_id"], newest["newest_at"])
    await prune(setup)
    (later,) = await setup.database.fetch("compare_event_mark", *mark)
    assert (later["is_there"], later["newest_id"]) == (True, None)
    now = await setup.value("SELECT now()::text")
    (lost,) = await setup.database.fetch("compare_event_mark", 99, now)
    assert lost["is_there"] is False
