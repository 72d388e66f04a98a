"""The prompts of an account are erased wherever they lie, and what money is counted by stays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from producer.retention.prompt_erasure import PromptErasure, PromptErasures
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import AccountNotFound
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import age, kept_rows, prune
from tests.support.deployment import image_to_image, text_to_image
from tests.support.example_jobs import polled
from tests.support.marked_texts import columns_with
from tests.support.stored_images import add_failed_image

MARK = "xq7-marked"
SAID = f"Kie refused the prompt {MARK!r}"
WHERE = {
    *("jobs.request", "jobs.metadata", "jobs.message", "job_events.detail", "job_attempts.message"),
    *("late_tasks.answer", "job_images.last_error", "files.url"),
}
"""Where the marked texts of the jobs below lie before."""


async def marked(
    setup: DatabaseSetup, state: JobState = JobState.SUBMITTING, **options: Any
) -> Job:
    """Return a job in this state with the mark in its prompt, image URL and metadata."""
    image = image_to_image(image_urls=(f"https://x.example/{MARK}.png",), prompt=MARK)
    for request in (text_to_image(MARK), image):
        job = await setup.job_in(state, request=request, metadata={"note": [MARK]}, **options)
    return job


async def mark_everything(setup: DatabaseSetup) -> None:
    """Store the mark wherever a text of a caller, or what Kie says of it, may be stored."""
    await marked(setup, JobState.SUCCEEDED, webhook_url="https://hooks.example/a")
    await marked(setup, JobState.CANCELLED)
    job = await marked(setup)
    await setup.store.record_deferred(job, job_events.Deferred("rate_limited", SAID, 0))
    await setup.store.reject(await setup.move(job, job_events.Claimed), job_events.Rejected(SAID))
    job = await marked(setup)
    await setup.store.record_unknown(job, job_events.OutcomeUnknown("reply_lost", SAID))
    await setup.store.lose_submission(job.id, job.attempt, job_events.SubmissionLost(SAID))
    job = await marked(setup, JobState.GENERATING)
    review = job_events.HeldForReview("result_unreadable", SAID, SAID)
    await setup.store.hold_for_review(polled(job), review)
    await setup.store.fail(polled(job), job_events.ProviderFailed("provider_failed", SAID))
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id, answer, outcome, ended_at)"
        " VALUES ($1, 1, 'late', $2, 'forgotten', now())",
        job.id,
        SAID,
    )
    await setup.sql(
        "INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url, state,"
        " last_error) VALUES ($1, 1, 1, 'late', 'https://x.example/1', 'failed', $2)",
        job.id,
        SAID,
    )
    await setup.sql(
        "INSERT INTO files (id, account_id, sha256, bytes, content_type, width, height, url,"
        " expires_at) VALUES (gen_random_uuid(), 'acme', sha256('x'), 1, 'image/png', 1, 1, $1,"
        " now() + interval '1 day')",
        f"https://x.example/{MARK}-file.png",
    )
    # The jobs that were made beside those above.
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    for one in await setup.sql("SELECT id FROM jobs WHERE finished_at IS NULL"):
        job = await setup.book.get(one["id"])
        if job.state is JobState.SUBMITTING:
            await setup.store.reject(job, job_events.Rejected(SAID))
        elif job.state is JobState.GENERATING:
            await setup.settle(job)
    for _ in range(3):
        await setup.sql("SELECT darkroom_sum_settlements()")


async def erase(setup: DatabaseSetup, account_id: str = "acme") -> PromptErasure:
    return await PromptErasures(setup.database).erase(account_id, actor="maria", reason="asked")


async def newest(setup: DatabaseSetup) -> PromptErasure:
    (erasure,) = await PromptErasures(setup.database).of_account("acme", limit=1)
    return erasure


async def test_no_text_of_a_caller_is_left_anywhere_and_every_sum_is_as_before(
    setup: DatabaseSetup,
) -> None:
    await mark_everything(setup)
    assert await columns_with(setup.database, MARK) == WHERE
    before = await kept_rows(setup)
    count = await setup.value("SELECT count(*) FROM jobs")
    erasure = await erase(setup)
    assert await columns_with(setup.database, MARK) == set()
    assert (erasure.jobs, erasure.waiting, erasure.ended_at is not None) == (count, 0, True)
    assert await kept_rows(setup) == before
    assert await setup.broken_invariants() == {}
    (entry,) = await setup.billing.audit(act="prompts_erased")
    assert (entry["actor"], entry["account_id"], entry["reason"]) == ("maria", "acme", "asked")


async def test_the_retention_of_prompts_leaves_no_text_either(setup: DatabaseSetup) -> None:
    await mark_everything(setup)
    await age(setup, *[row["id"] for row in await setup.sql("SELECT id FROM jobs")])
    before = await kept_rows(setup)
    await prune(setup, {"prompts": 90})
    # Uploaded images are of no job, and go a month after their end.
    assert await columns_with(setup.database, MARK) == {"files.url"}
    assert await kept_rows(setup) == before
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.UNKNOWN, JobState.GENERATING])
async def test_an_open_job_keeps_its_request_until_it_ends(
    setup: DatabaseSetup, state: JobState
) -> None:
    job = await setup.job_in(state, request=text_to_image(MARK))
    erasure = await erase(setup)
    assert (erasure.jobs, erasure.waiting, erasure.ended_at) == (0, 1, None)
    assert (await setup.book.get(job.id)).request["prompt"] == MARK
    assert await prune(setup, {}) == {}
    if state is JobState.QUEUED:
        await setup.move(job, job_events.Cancelled)
    elif state is JobState.UNKNOWN:
        await setup.move(job, job_events.SubmissionLost)
    else:
        await setup.settle(job)
    assert await prune(setup, {}) == {"erasures": 1}
    assert await columns_with(setup.database, MARK) == set()
    assert (await newest(setup)).ended_at is not None
    assert await setup.broken_invariants() == {}


async def test_later_orders_and_other_accounts_keep_theirs(setup: DatabaseSetup) -> None:
    await setup.open_account("shop")
    other = await setup.job_in(JobState.SUCCEEDED, account_id="shop")
    waits = await setup.job_in(JobState.QUEUED)
    await erase(setup)
    later = await setup.job_in(JobState.SUCCEEDED)
    await setup.move(waits, job_events.Cancelled)
    await prune(setup, {})
    unpruned = await setup.sql("SELECT id FROM jobs WHERE pruned_at IS NULL")
    assert {row["id"] for row in unpruned} == {other.id, later.id}
    # A repeated request includes the jobs since.
    assert (await erase(setup)).jobs == 1
    assert [one.jobs for one in await PromptErasures(setup.database).of_account("acme")] == [1, 1]
    assert (await setup.book.get(later.id)).pruned_at is not None


async def test_what_is_still_sent_waits_and_is_erased_after(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.SUCCEEDED, webhook_url="https://hooks.example/a")
    assert (await erase(setup)).waiting == 1
    assert (await setup.book.get(job.id)).pruned_at is None
    await setup.sql("UPDATE webhook_messages SET state = 'dead'")
    assert await prune(setup, {}) == {"erasures": 1}


async def test_many_jobs_are_erased_in_batches_that_a_death_between_them_leaves_to_others(
    setup: DatabaseSetup,
) -> None:
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.FAILED):
        await setup.job_in(state)
    await setup.sql("SELECT darkroom_erase_prompts('acme')")
    await setup.sql("SELECT darkroom_continue_erasures(1)")
    assert await setup.value("SELECT count(*) FROM jobs WHERE pruned_at IS NOT NULL") == 1
    assert await prune(setup, {}, batch=1) == {"erasures": 3}
    assert (await newest(setup)).jobs == 4
    assert await setup.money() == (Decimal(994), 0)


async def test_the_files_that_an_open_job_names_stay(setup: DatabaseSetup) -> None:
    await setup.sql(
        "INSERT INTO files (id, account_id, sha256, bytes, content_type, width, height, url,"
        " expires_at) SELECT gen_random_uuid(), 'acme', sha256(name::bytea), 1, 'image/png', 1, 1,"
        " 'https://x.example/' || name, now() FROM unnest('{used, unused}'::text[]) AS name"
    )
    await setup.enqueue(image_to_image(image_urls=("https://x.example/used",)))
    await erase(setup)
    assert await setup.value("SELECT string_agg(url, ' ') FROM files") == "https://x.example/used"


async def test_an_account_that_does_not_exist_is_named(setup: DatabaseSetup) -> None:
    erasures = PromptErasures(setup.database)
    assert await erasures.of_account("acme") == []
    for call in (erasures.erase, erasures.preview, erasures.of_account):
        with pytest.raises(AccountNotFound, match="nobody"):
            await call("nobody")
    stored = await erasures.preview("acme")
    assert (stored.ended, stored.open) == (0, 0)


async def test_the_audit_entry_of_an_act_by_filter_holds_no_metadata(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.SUCCEEDED, metadata={"note": MARK})
    await add_failed_image(setup, job)
    await setup.sql(
        "SELECT darkroom_retry_images(NULL, $1::text::jsonb, now(), 10)",
        f'{{"metadata": [{{"note": "{MARK}"}}]}}',
    )
    (entry,) = await setup.billing.audit(act="images_retried")
    assert entry["after"]["where"] == {"metadata": "(masked)"}
    await setup.sql("UPDATE job_images SET state = 'failed'")
    await erase(setup)
    assert await columns_with(setup.database, MARK) == set()
