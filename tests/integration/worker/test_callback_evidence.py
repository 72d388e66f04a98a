"""What record-info must show before a callback for a lost reply is believed."""

from __future__ import annotations

import asyncio

import pytest

from producer import Job
from shared.adapters.redis.deliveries import Lane
from shared.catalog import ModelFamily
from shared.domain import job_events
from shared.domain.kie_outcomes import Pending, TaskLookup
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.eventually import until
from worker.callbacks.callback_handler import (
    MAX_CALLBACKS_AT_ONCE,
    CallbackHandler,
)
from worker.recovery.reconciler import Reconciler

TOKEN = "the-token-of-this-attempt"
TASK = "t" * 32
SHORT_SECONDS = 0.05
"""So long a sweep is waited for here, where Kie does not answer."""


async def unknown_job_called_back(setup: WorkerSetup) -> tuple[Job, int]:
    """Return a job whose reply was lost, and the inbox id of a callback that names a task."""
    job = await setup.enqueue()
    claimed = await setup.deps.store.claim(job, job_events.Claimed(TOKEN, "test:1", "default"))
    lost = job_events.OutcomeUnknown("reply_lost", "no reply came")
    unknown = await setup.deps.store.record_unknown(claimed, lost)
    (row,) = await setup.sql(
        "INSERT INTO callback_inbox (token, provider_task_id) VALUES ($1, $2) RETURNING id",
        TOKEN,
        TASK,
    )
    setup.kie.polls.append(Pending(0))
    return unknown, int(row["id"])


async def verdicts(setup: WorkerSetup) -> list[str | None]:
    return [row["verdict"] for row in await setup.sql("SELECT verdict FROM callback_inbox")]


async def test_a_record_that_names_no_callback_url_proves_nothing(setup: WorkerSetup) -> None:
    job, inbox_id = await unknown_job_called_back(setup)
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    assert await setup.now_is(job) == job
    assert await verdicts(setup) == [None], "it stays in the inbox until there is evidence"


@pytest.mark.parametrize(
    ("path", "state", "verdict"),
    [
        (f"/callbacks/kie/{TOKEN}", "generating", "confirmed"),
        (f"/callbacks/kie/{TOKEN}/", "generating", "confirmed"),
        ("/callbacks/kie/the-token-of-another-attempt", "unknown", "refuted"),
        (f"/callbacks/kie/{TOKEN}-and-more", "unknown", "refuted"),
        ("/", "unknown", "refuted"),
    ],
)
async def test_only_a_record_made_with_the_attempts_own_url_is_believed(
    setup: WorkerSetup, path: str, state: str, verdict: str
) -> None:
    job, inbox_id = await unknown_job_called_back(setup)
    setup.kie.callback_urls[TASK] = f"https://darkroom.example{path}"
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    after = await setup.now_is(job)
    assert (after.state, after.provider_task_id) == (
        state,
        TASK if state == "generating" else None,
    )
    assert await verdicts(setup) == [verdict]


async def test_once_the_job_has_ended_a_record_without_a_url_is_asked_for_only_once(
    setup: WorkerSetup,
) -> None:
    job, inbox_id = await unknown_job_called_back(setup)
    await setup.deps.store.lose_submission(
        job.id, job.attempt, job_events.SubmissionLost("too late")
    )
    await CallbackHandler(setup.deps, setup.database).handle(inbox_id)
    assert await verdicts(setup) == ["late"]


async def test_what_could_not_be_judged_within_an_hour_is_not_asked_about_for_ever(
    setup: WorkerSetup,
) -> None:
    await unknown_job_called_back(setup)
    await setup.sql("UPDATE callback_inbox SET received_at = now() - interval '61 minutes'")
    await CallbackHandler(setup.deps, setup.database).sweep()
    assert setup.kie.poll_calls == []
    assert await verdicts(setup) == [None]


class SlowKie(FakeKie):
    """A Kie that answers no question about a task before the event."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.asked = 0

    async def until_asked(self, times: int) -> None:
        async def is_asked() -> bool:
            return self.asked >= times

        await until(is_asked, f"Kie is asked {times} times")

    async def examine(self, family: ModelFamily, task_id: str) -> TaskLookup:
        del family, task_id
        self.asked += 1
        await self.answers.wait()
        return TaskLookup(Pending(0.0), f"https://darkroom.example/callbacks/kie/{TOKEN}")


async def test_a_slow_kie_holds_up_no_reconciling_and_no_evidence_is_given_up_meanwhile(
    setup: WorkerSetup,
) -> None:
    called_back, _ = await unknown_job_called_back(setup)
    lost = await setup.enqueue()
    claimed = await setup.deps.store.claim(
        lost, job_events.Claimed("the-token-of-another", "test:1", "default")
    )
    await setup.deps.store.record_unknown(
        claimed, job_events.OutcomeUnknown("reply_lost", "no reply")
    )
    queued = await setup.enqueue()
    await setup.sql("UPDATE callback_inbox SET received_at = now() - interval '1 minute'")
    await setup.sql("UPDATE jobs SET attempted_at = now() - interval '1 day' WHERE attempt > 0")
    await setup.sql("UPDATE jobs SET updated_at = now() - interval '10 seconds'")
    kie = SlowKie()
    slow = setup.with_kie(kie)
    handler = CallbackHandler(slow.deps, slow.database, sweep_wait_seconds=SHORT_SECONDS)
    reconciler = Reconciler(slow.deps, callbacks=handler)
    for _ in range(2):
        await reconciler.run_once()
    await kie.until_asked(1)
    assert not await handler.sweep(), "it waits for the first sweep, which has not ended"
    assert kie.asked == 1
    assert (await setup.now_is(called_back)).state == "unknown", "its evidence is still looked at"
    assert (await setup.now_is(lost)).reason == "submission_lost"
    assert await setup.delivery_due_in_seconds(queued.id, Lane.SUBMIT) is not None
    kie.answers.set()
    await until(handler.sweep, "the first sweep has ended")
    assert (await setup.now_is(called_back)).state == "generating"
    assert await verdicts(setup) == ["confirmed"]


async def test_a_sweep_asks_about_many_callbacks_at_once(setup: WorkerSetup) -> None:
    await setup.sql("SELECT grant_credits('acme', 1000, 'for the test')")
    for number in range(MAX_CALLBACKS_AT_ONCE + 5):
        job = await setup.enqueue()
        token = f"the-token-of-attempt-{number}"
        claimed = await setup.deps.store.claim(job, job_events.Claimed(token, "test:1", "default"))
        await setup.deps.store.record_unknown(
            claimed, job_events.OutcomeUnknown("reply_lost", "none")
        )
        await setup.sql(
            "INSERT INTO callback_inbox (token, provider_task_id, received_at)"
            " VALUES ($1, $2, now() - interval '1 minute')",
            token,
            f"{number:032}",
        )
    kie = SlowKie()
    slow = setup.with_kie(kie)
    handler = CallbackHandler(slow.deps, slow.database, sweep_wait_seconds=SHORT_SECONDS)
    assert not await handler.sweep()
    await kie.until_asked(MAX_CALLBACKS_AT_ONCE)
    assert not await handler.sweep()
    assert kie.asked == MAX_CALLBACKS_AT_ONCE
    kie.answers.set()
    await until(handler.sweep, "the sweep has ended")
    assert kie.asked == MAX_CALLBACKS_AT_ONCE + 5
