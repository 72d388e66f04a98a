"""Late tasks that succeeded, though with which images or for which job is not certain.

Operators settle them, and nothing is charged.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
import structlog

from producer import InvalidRequest, Job
from producer.cli.resolve import late_resolve_advice
from producer.live.event_queries import read_job
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.domain.alerts.alert_rules import find_alerts
from shared.domain.kie_outcomes import (
    Accepted,
    Delivered,
    Pending,
    PollOutcome,
    TaskFailed,
    Unreadable,
)
from tests.integration.worker.test_late_tasks import (
    HOOK,
    TASK,
    URLS,
    called_back,
    check,
    check_kept,
    given_up,
    late_tasks,
)
from tests.integration.worker.worker_setup import WorkerSetup
from worker.callbacks.callback_handler import CallbackHandler

SAID = '{"resultUrls":["https://images.example/1.png","oops"]}'
UNREADABLE = Unreadable("one of 2 images has no whole URL", SAID)
CLAIMED = "c" * 32


@dataclass(frozen=True, slots=True)
class Doubt:
    """One way for a late task to be in doubt."""

    kie_outcome: PollOutcome
    task_id: str
    outcome: str | None
    event: str
    says: str


DOUBTS = {
    "which images": Doubt(UNREADABLE, TASK, None, "late_result_unreadable", "oops"),
    "whose images": Doubt(Delivered(URLS), CLAIMED, "unproven", "late_task_unproven", URLS[1]),
    "whose, and which": Doubt(UNREADABLE, CLAIMED, "unproven", "late_task_unproven", "oops"),
    "which, too late": Doubt(UNREADABLE, TASK, "expired", "late_result_unreadable", "oops"),
}
ALL = pytest.mark.parametrize("doubt", DOUBTS.values(), ids=DOUBTS.keys())


async def in_doubt(setup: WorkerSetup, doubt: Doubt) -> Job:
    """Return a job one of whose late tasks is in doubt."""
    job = await given_up(setup, webhook_url=HOOK)
    if doubt.outcome == "expired":
        await setup.sql("UPDATE job_attempts SET sent_at = now() - interval '15 days'")
    if doubt.task_id == TASK:
        await check(setup, doubt.kie_outcome)
        return job
    # Only a callback names it, and Kie's record has no callback URL. The job's own task fails.
    await check(setup, TaskFailed("provider_failed", "no"))
    inbox_id = await called_back(setup, job, doubt.task_id)
    setup.kie.polls.append(doubt.kie_outcome)
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    return job


async def outcome_of(setup: WorkerSetup, doubt: Doubt) -> tuple[str | None, bool]:
    """Return the outcome of the task, and whether it is in doubt."""
    (row,) = (one for one in await late_tasks(setup) if one["provider_task_id"] == doubt.task_id)
    return row["outcome"], row["in_doubt_since"] is not None


@ALL
async def test_a_doubt_is_reported_with_the_answer_and_the_command(
    setup: WorkerSetup, doubt: Doubt
) -> None:
    with structlog.testing.capture_logs() as lines:
        job = await in_doubt(setup, doubt)
        if doubt.outcome is None:
            await setup.redis.flushdb()  # time passes for the limit on queries of one task
            await check(setup, doubt.kie_outcome)
    assert await outcome_of(setup, doubt) == (doubt.outcome, True)
    (line,) = (one for one in lines if one["event"] == doubt.event)
    assert line["log_level"] == "error"
    assert doubt.says in line["answer"]
    assert f"darkroom jobs resolve {job.id} --delivered" in line["meaning"]
    (alert,) = (
        one
        for one in find_alerts(await read_system_state(setup.database), None)
        if one.name == "late_tasks_in_doubt"
    )
    assert f"darkroom jobs show {job.id}" in alert.fix
    assert alert.since is not None
    story = await setup.producer.job_details(job.id)
    advice = "\n".join(late_resolve_advice(job, story["late_tasks"]))
    assert doubt.says in advice
    assert f"jobs resolve {job.id} --undelivered --reason" in advice
    assert (await setup.now_is(job)).late_result_urls is None


@ALL
async def test_images_that_an_operator_names_are_kept_free_of_charge(
    setup: WorkerSetup, doubt: Doubt
) -> None:
    job = await in_doubt(setup, doubt)
    settled = await setup.producer.resolve_delivered(job.id, URLS, "seen in Kie's log", actor="max")
    assert settled.late_result_urls == URLS
    await check_kept(setup, job)
    assert await outcome_of(setup, doubt) == ("delivered", False)
    (told,) = await setup.sql(
        "SELECT detail FROM job_events WHERE event = 'resolved_by_operator' AND job_id = $1", job.id
    )
    said = {name: told["detail"][name] for name in ("verdict", "by", "reason", "provider_task_id")}
    assert said == {
        "verdict": "delivered_late",
        "by": "max",
        "reason": "seen in Kie's log",
        "provider_task_id": doubt.task_id,
    }
    page = await read_job(setup.database, job.id, 0)
    assert [one.state for one in page.events][-3:] == ["failed"] * 3, "streams tell no other state"
    sent = await setup.sql("SELECT event FROM webhook_messages ORDER BY created_at, event DESC")
    assert [row["event"] for row in sent] == ["job.failed", "job.delivered_late"]
    for again in (
        setup.producer.resolve_delivered(job.id, URLS, "again"),
        setup.producer.resolve_undelivered(job.id, "again"),
    ):
        with pytest.raises(InvalidRequest, match="no late task of it is in doubt"):
            await again


@ALL
async def test_a_dismissed_task_is_checked_no_more(setup: WorkerSetup, doubt: Doubt) -> None:
    job = await in_doubt(setup, doubt)
    settled = await setup.producer.resolve_undelivered(job.id, "another job's")
    assert (settled.state, settled.late_result_urls) == ("failed", None)
    assert await outcome_of(setup, doubt) == ("dismissed", False)
    assert await check(setup) == 0
    await CallbackHandler(setup.deps, setup.database).handle(
        await called_back(setup, job, doubt.task_id)
    )
    assert await outcome_of(setup, doubt) == ("dismissed", False), "a callback does not reopen it"
    alerts = find_alerts(await read_system_state(setup.database), None)
    assert "late_tasks_in_doubt" not in {one.name for one in alerts}


@pytest.mark.parametrize(
    ("kie_outcome", "outcome"),
    [(Delivered(URLS), "delivered"), (TaskFailed("provider_failed", "no"), "failed")],
)
async def test_an_answer_of_kie_ends_the_doubt(
    setup: WorkerSetup, kie_outcome: PollOutcome, outcome: str
) -> None:
    doubt = DOUBTS["which images"]
    job = await in_doubt(setup, doubt)
    await setup.redis.flushdb()  # time passes for the limit on queries of one task
    await check(setup, kie_outcome)
    assert await outcome_of(setup, doubt) == (outcome, False)
    with pytest.raises(InvalidRequest, match="no late task of it is in doubt"):
        await setup.producer.resolve_delivered(job.id, URLS, "too late")


async def test_a_task_that_kie_still_works_on_may_be_proven_later(setup: WorkerSetup) -> None:
    doubt = Doubt(Pending(0.5), CLAIMED, None, "", "")
    job = await in_doubt(setup, doubt)
    assert await outcome_of(setup, doubt) == (None, False), "nothing was delivered yet"
    await setup.redis.flushdb()  # time passes for the limit on queries of one task
    await check(setup, Delivered(URLS))
    assert await outcome_of(setup, doubt) == ("unproven", True)
    await setup.producer.resolve_delivered(job.id, URLS, "its prompt is this job's")
    await check_kept(setup, job)


async def test_an_unproven_task_that_failed_is_not_in_doubt(setup: WorkerSetup) -> None:
    doubt = Doubt(TaskFailed("provider_failed", "no"), CLAIMED, "unproven", "", "")
    await in_doubt(setup, doubt)
    assert await outcome_of(setup, doubt) == ("unproven", False), "Kie was paid nothing for it"


async def test_a_task_of_another_job_is_in_doubt_for_no_other_job(setup: WorkerSetup) -> None:
    holder = await setup.enqueue()
    setup.kie.submits.append(Accepted(CLAIMED))
    await setup.submit(holder)
    doubt = DOUBTS["whose images"]
    job = await in_doubt(setup, doubt)
    assert await outcome_of(setup, doubt) == ("unproven", False)
    # The job may have the task later. Then the statement that stores images refuses them.
    await setup.sql(
        "UPDATE late_tasks SET in_doubt_since = now() WHERE provider_task_id = $1", CLAIMED
    )
    with pytest.raises(InvalidRequest, match="another job's"):
        await setup.producer.resolve_delivered(job.id, URLS, "x")
    assert (await setup.now_is(job)).late_result_urls is None


async def test_of_several_tasks_in_doubt_an_operator_names_one(setup: WorkerSetup) -> None:
    job = await in_doubt(setup, DOUBTS["which images"])
    setup.kie.polls.append(UNREADABLE)
    await CallbackHandler(setup.deps, setup.database).handle(await called_back(setup, job, CLAIMED))
    with pytest.raises(InvalidRequest, match=f"'{TASK}', '{CLAIMED}' are in doubt"):
        await setup.producer.resolve_delivered(job.id, URLS, "which?")
    with pytest.raises(InvalidRequest, match="'task-9' is not in doubt"):
        await setup.producer.resolve_delivered(job.id, URLS, "which?", task_id="task-9")
    await setup.producer.resolve_undelivered(job.id, "a stranger's", task_id=CLAIMED)
    await setup.producer.resolve_delivered(job.id, URLS, "these", task_id=TASK)
    await check_kept(setup, job)


async def test_kie_and_the_operator_at_once_keep_the_images_once(setup: WorkerSetup) -> None:
    job = await in_doubt(setup, DOUBTS["which images"])
    await setup.redis.flushdb()  # time passes for the limit on queries of one task
    await asyncio.gather(
        check(setup, Delivered(URLS)),
        *(setup.producer.resolve_delivered(job.id, URLS, "seen") for _ in range(3)),
        return_exceptions=True,
    )
    await check_kept(setup, job)
    sent = await setup.sql("SELECT event FROM webhook_messages ORDER BY created_at, event DESC")
    assert [row["event"] for row in sent] == ["job.failed", "job.delivered_late"]


async def test_an_operator_who_comes_second_changes_nothing(setup: WorkerSetup) -> None:
    doubt = DOUBTS["which images"]
    job = await in_doubt(setup, doubt)
    await setup.redis.flushdb()  # time passes for the limit on queries of one task
    await check(setup, TaskFailed("provider_failed", "no"))
    # The statements of an operator who had read it as being in doubt.
    key = (job.id, 1, TASK)
    for urls in ([], list(URLS)):
        assert (
            await setup.database.fetch_row("settle_late", *key, urls, "seen", None, False) is None
        )
    assert await outcome_of(setup, doubt) == ("failed", False)
