"""Tasks for which their job no longer waits: images are stored once, and never charged."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
import structlog

from producer import Job
from producer.doctor import check_invariants
from shared.domain import job_events
from shared.domain.kie_outcomes import (
    Accepted,
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    Refused,
    TaskFailed,
    TryLater,
)
from shared.errors import StaleJob
from tests.integration.worker.worker_setup import START, WorkerSetup
from tests.support.example_jobs import polled
from worker.callbacks.callback_handler import CallbackHandler
from worker.recovery.late_task_checks import LateTaskChecks

TASK = "t" * 32
URLS = ("https://images.example/1.png", "https://images.example/2.png")
HOOK = "https://shop.example/hook"


async def given_up(setup: WorkerSetup, **options: Any) -> Job:
    """Return a job that reached its deadline while Kie worked on its task."""
    job = await setup.enqueue(**options)
    setup.kie.submits.append(Accepted(TASK))
    await setup.submit(job)
    return await exceed_deadline(setup, job)


async def exceed_deadline(setup: WorkerSetup, job: Job) -> Job:
    await setup.sql("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = $1", job.id)
    late = job_events.DeadlineExceeded("not done in time")
    return await setup.deps.store.exceed_deadline(polled(await setup.now_is(job)), late)


async def make_due(setup: WorkerSetup) -> None:
    await setup.sql("UPDATE late_tasks SET next_check_at = now() WHERE outcome IS NULL")


async def check(setup: WorkerSetup, *kie_outcomes: PollOutcome) -> int:
    """Let the next check be due, and make it."""
    await make_due(setup)
    setup.kie.polls.extend(kie_outcomes)
    return await LateTaskChecks(setup.deps).check_due()


async def late_tasks(setup: WorkerSetup) -> list[dict[str, Any]]:
    return await setup.sql("SELECT * FROM late_tasks ORDER BY noted_at")


async def called_back(setup: WorkerSetup, job: Job, task_id: str = TASK) -> int:
    """Return the inbox id of a callback about the newest attempt, as the receiver stores it."""
    (attempt,) = await setup.sql(
        "SELECT token FROM job_attempts WHERE job_id = $1 ORDER BY number DESC LIMIT 1", job.id
    )
    row = await setup.deps.queries.fetch_row("receive_callback", attempt["token"], task_id, 8)
    assert row is not None
    return int(row["id"])


async def url_of(setup: WorkerSetup, job: Job, number: int = 1) -> str:
    (attempt,) = await setup.sql(
        "SELECT token FROM job_attempts WHERE job_id = $1 AND number = $2", job.id, number
    )
    return f"https://darkroom.example/callbacks/kie/{attempt['token']}"


async def verdict_on(setup: WorkerSetup, inbox_id: int) -> str | None:
    (row,) = await setup.sql("SELECT verdict FROM callback_inbox WHERE id = $1", inbox_id)
    return None if row["verdict"] is None else str(row["verdict"])


async def check_kept(setup: WorkerSetup, job: Job, *, cost: int = 6) -> None:
    """Fail unless the images are on the job, reported once and without a charge."""
    now = await setup.now_is(job)
    assert now.late_result_urls == URLS
    assert (now.state, now.result_urls, now.credits_charged) == ("failed", (), None)
    assert (await setup.events(job)).count("delivered_late") == 1
    delivered = [one for one in await late_tasks(setup) if one["outcome"] == "delivered"]
    assert [one["provider_credits"] for one in delivered] == [Decimal(cost)]
    assert await setup.money() == (START, Decimal(0))
    broken = [one async for one in check_invariants(setup.database) if not one.ok]
    assert not broken


async def test_a_task_given_up_at_its_deadline_is_checked_and_its_images_are_kept(
    setup: WorkerSetup,
) -> None:
    job = await given_up(setup)
    assert await LateTaskChecks(setup.deps).check_due() == 0, "the first check is a minute later"
    assert await check(setup, Pending(0.5)) == 1
    assert (await setup.now_is(job)).late_result_urls is None
    assert await check(setup, Delivered(URLS)) == 1
    await check_kept(setup, job)
    assert await check(setup) == 0, "what has its outcome is not checked again"
    counted = setup.registry.get_sample_value("darkroom_late_deliveries_total")
    cost = setup.registry.get_sample_value("darkroom_late_delivery_provider_credits_total")
    assert (counted, cost) == (1, 6)


async def test_late_images_cost_what_kie_says_that_they_cost(setup: WorkerSetup) -> None:
    job = await given_up(setup)
    assert await check(setup, Delivered(URLS, consumed_credits=Decimal(16))) == 1
    await check_kept(setup, job, cost=16)


async def test_checks_grow_rare_by_the_clock_of_postgres(setup: WorkerSetup) -> None:
    await given_up(setup)
    delays = []
    for _ in range(7):
        await setup.redis.flushdb()  # time passes for the limit on queries of one task
        await check(setup, Pending(0.5))
        (row,) = await setup.sql(
            "SELECT extract(epoch FROM next_check_at - now())::float8 AS delay FROM late_tasks"
        )
        delays.append(row["delay"])
    for delay, least in zip(delays, (300, 1800, 7200, 21600, 86400, 86400, 86400), strict=True):
        assert least - 5 <= delay <= least * 1.1 + 5


async def test_a_task_id_that_comes_after_the_end_is_checked(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    claimed = await setup.deps.store.claim(job, job_events.Claimed("t" * 24, "test:1", "default"))
    unknown = await setup.deps.store.record_unknown(
        claimed, job_events.OutcomeUnknown("worker_lost", "its lease lapsed")
    )
    await setup.deps.store.lose_submission(job.id, 1, job_events.SubmissionLost("too late"))
    assert await late_tasks(setup) == [], "no task is known"
    with pytest.raises(StaleJob):
        await setup.deps.store.record_submitted(unknown, job_events.Submitted(TASK, 1800))
    assert await check(setup, Delivered(URLS)) == 1
    await check_kept(setup, job)


async def test_a_callback_for_a_task_given_up_has_it_checked_at_once(setup: WorkerSetup) -> None:
    job = await given_up(setup)
    inbox_id = await called_back(setup, job)
    setup.kie.polls.append(Delivered(URLS))
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == "late_success"
    await check_kept(setup, job)


async def test_a_callback_that_comes_again_after_the_end_counts(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted(TASK))
    await setup.submit(job)
    inbox_id = await called_back(setup, job)
    handler = CallbackHandler(setup.deps, setup.database)
    await handler.handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == "hastened"
    await exceed_deadline(setup, job)
    assert await called_back(setup, job) == inbox_id
    setup.kie.polls.append(Delivered(URLS))
    await handler.handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == "late_success"
    await check_kept(setup, job)


@pytest.mark.parametrize(
    ("says", "is_kept"), [(TaskFailed("provider_failed", "no"), False), (Delivered(URLS), True)]
)
async def test_a_failure_that_turns_to_success_is_kept_by_its_callback(
    setup: WorkerSetup, says: PollOutcome, is_kept: bool
) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted(TASK))
    await setup.submit(job)
    setup.kie.polls.append(TaskFailed("provider_failed", "flag 3"))
    await setup.poll(job)
    inbox_id = await called_back(setup, job)
    setup.kie.polls.extend([says, says])
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == ("late_success" if is_kept else "late")
    if is_kept:
        await check_kept(setup, job)
    else:
        assert await late_tasks(setup) == [], "the everyday failure leaves nothing to check"


async def test_images_of_an_attempt_that_kie_refused_are_kept_after_the_end(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(TryLater("rate_limited", "429"))
    await setup.submit(job)
    inbox_id = await called_back(setup, job)
    handler = CallbackHandler(setup.deps, setup.database)
    await handler.handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == "late"
    assert await check(setup) == 0, "an open job is not told of late images"
    await setup.make_due(job)
    setup.kie.submits.append(Refused("bad prompt", 400))
    await setup.submit(job)
    setup.kie.callback_urls[TASK] = await url_of(setup, job)
    assert await check(setup, Delivered(URLS)) == 1
    await check_kept(setup, job)


@pytest.mark.parametrize(
    ("url", "outcome", "verdict"),
    [(None, "unproven", "late"), ("https://x.example/callbacks/kie/other", "refuted", "refuted")],
)
async def test_a_claimed_task_that_is_not_provably_ours_is_not_kept(
    setup: WorkerSetup, url: str | None, outcome: str, verdict: str
) -> None:
    job = await given_up(setup)
    claimed = "c" * 32
    if url is not None:
        setup.kie.callback_urls[claimed] = url
    inbox_id = await called_back(setup, job, claimed)
    setup.kie.polls.append(Delivered(URLS))
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == verdict
    outcomes = {one["provider_task_id"]: one["outcome"] for one in await late_tasks(setup)}
    assert outcomes == {TASK: None, claimed: outcome}
    assert (await setup.now_is(job)).late_result_urls is None


async def test_a_callback_that_kie_cannot_confirm_now_is_checked_later(setup: WorkerSetup) -> None:
    job = await given_up(setup)
    inbox_id = await called_back(setup, job)
    setup.kie.polls.append(NoVerdict("Kie answered 500"))
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    assert await verdict_on(setup, inbox_id) == "late"
    assert await check(setup, Delivered(URLS)) == 1
    await check_kept(setup, job)


async def test_a_callback_unjudged_at_the_end_of_its_job_is_not_forgotten(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue()
    claimed = await setup.deps.store.claim(job, job_events.Claimed("t" * 24, "test:1", "default"))
    lost = job_events.OutcomeUnknown("reply_lost", "no reply came")
    await setup.deps.store.record_unknown(claimed, lost)
    await called_back(setup, job)
    await setup.sql("UPDATE callback_inbox SET received_at = now() - interval '2 hours'")
    await setup.deps.store.lose_submission(job.id, 1, job_events.SubmissionLost("too late"))
    setup.kie.callback_urls[TASK] = await url_of(setup, job)
    assert await check(setup, Delivered(URLS)) == 1
    await check_kept(setup, job)


async def test_two_workers_find_it_at_once_and_it_is_kept_and_reported_once(
    setup: WorkerSetup,
) -> None:
    job = await given_up(setup, webhook_url=HOOK)
    await make_due(setup)
    setup.kie.polls.extend([Delivered(URLS)] * 20)
    handler = CallbackHandler(setup.deps, setup.database)
    inbox_id = await called_back(setup, job)
    checks = [LateTaskChecks(setup.deps).check_due() for _ in range(6)]
    await asyncio.gather(*checks, *(handler.handle(inbox_id) for _ in range(3)))
    await check_kept(setup, job)
    rows = await setup.sql("SELECT event FROM webhook_messages ORDER BY created_at, event DESC")
    assert [row["event"] for row in rows] == ["job.failed", "job.delivered_late"]


async def test_what_was_found_and_not_stored_is_found_again(setup: WorkerSetup) -> None:
    job = await given_up(setup)
    await make_due(setup)
    crashing = LateTaskChecks(setup.deps)
    claimed = await setup.deps.queries.fetch("claim_late_tasks", 60.0, ["default"], 10, None)
    assert len(claimed) == 1, "a worker has claimed the check, and is killed before it stores"
    setup.kie.polls.append(Delivered(URLS))
    assert await crashing.check_due() == 0, "its lease holds"
    await make_due(setup)
    assert await crashing.check_due() == 1
    await check_kept(setup, job)


async def test_a_refused_statement_leaves_nothing_half_and_is_tried_again(
    setup: WorkerSetup,
) -> None:
    job = await given_up(setup, webhook_url=HOOK)
    await setup.sql(
        "ALTER TABLE webhook_messages ADD CONSTRAINT away CHECK (event <> 'job.delivered_late')"
        " NOT VALID"
    )
    assert await check(setup, Delivered(URLS)) == 1
    assert (await setup.now_is(job)).late_result_urls is None
    assert "delivered_late" not in await setup.events(job)
    await setup.sql("ALTER TABLE webhook_messages DROP CONSTRAINT away")
    assert await check(setup, Delivered(URLS)) == 1
    await check_kept(setup, job)


async def test_a_task_that_another_job_has_is_not_kept_a_second_time(setup: WorkerSetup) -> None:
    first = await given_up(setup)
    # Before the check of the first job, so that the index of delivered tasks does not decide.
    await setup.sql("UPDATE late_tasks SET outcome = 'expired', ended_at = now()")
    second = await setup.enqueue()
    await setup.deps.store.claim(second, job_events.Claimed("s" * 24, "test:1", "default"))
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id) VALUES ($1, 1, $2)",
        *(second.id, TASK),
    )
    await setup.sql(
        "UPDATE jobs SET state = 'failed', finished_at = now(), reason = 'submission_lost'"
        " WHERE id = $1",
        second.id,
    )
    await check(setup, Delivered(URLS))
    assert (await setup.now_is(first)).late_result_urls is None
    assert (await setup.now_is(second)).late_result_urls is None
    assert [one["outcome"] for one in await late_tasks(setup)] == ["expired", "refuted"]


@pytest.mark.parametrize(
    ("kie_outcome", "sent", "outcomes"),
    [
        (NoVerdict("422", lacks_record=True), "2 days", [None, "forgotten"]),
        (NoVerdict("422", lacks_record=True), "2 hours", [None, None]),
        (NoVerdict("Kie answered 500"), "2 days", [None, None]),
        (Pending(0.5), "15 days", ["expired", "expired"]),
        (TaskFailed("provider_failed", "no"), "1 hour", ["failed", "failed"]),
    ],
)
async def test_checks_end_when_kie_forgets_or_decides(
    setup: WorkerSetup, kie_outcome: PollOutcome, sent: str, outcomes: list[str | None]
) -> None:
    job = await given_up(setup)
    await setup.sql("UPDATE job_attempts SET sent_at = now() - $1::text::interval", sent)
    found = []
    for _ in outcomes:
        await check(setup, kie_outcome)
        found.append((await late_tasks(setup))[0]["outcome"])
    assert found == outcomes
    assert (await setup.events(job)).count("failed_late") == ("failed" in outcomes)


async def test_a_task_of_an_account_without_a_key_waits_without_a_log_line(
    setup: WorkerSetup,
) -> None:
    await given_up(setup)
    await setup.sql("UPDATE job_attempts SET provider_account = 'gone'")
    with structlog.testing.capture_logs() as lines:
        assert await check(setup) == 0
    assert lines == []
    await setup.sql("UPDATE job_attempts SET provider_account = 'default'")
    assert await check(setup, Delivered(URLS)) == 1


async def test_a_run_takes_a_few_and_leaves_the_rest(setup: WorkerSetup) -> None:
    await given_up(setup)
    (row,) = await late_tasks(setup)
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id)"
        " SELECT $1, 1, 'more-' || n FROM generate_series(1, 30) AS n",
        row["job_id"],
    )
    assert await check(setup, *[Pending(0.5)] * 31) == 10
    assert await check(setup) == 10
