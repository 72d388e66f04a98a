"""The submit step over a scripted Kie: each outcome of a POST, and that it is sent once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import structlog

from producer import Job
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Lane
from shared.domain import job_events
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    Refused,
    SubmitOutcome,
    TryLater,
    WrongEndpoint,
)
from shared.domain.lifecycle import JobState, Reason
from shared.errors import JobNotFound, PostgresDown, StaleJob, TooEarly
from tests.fakes.fake_kie import FakeKie
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from worker.poll_timing import FIRST_POLL_SECONDS
from worker.steps.submit import submit_job
from worker.store.job_store import JobStore


class FailingStore(JobStore):
    """A store whose Postgres is down for the first calls of some methods.

    `lost_replies` are calls that are stored although their caller hears of an outage.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        *,
        outages: dict[str, int],
        lost_replies: dict[str, int] | None = None,
    ) -> None:
        super().__init__(setup.database)
        self._outages = outages
        self._lost_replies = lost_replies or {}
        self.tokens: list[str] = []

    async def claim(self, job: Job, event: job_events.Claimed) -> Job:
        """Note the token of every try."""
        self.tokens.append(event.token)
        return await self._shake("claim", super().claim(job, event))

    async def record_submitted(self, job: Job, event: job_events.Submitted) -> Job:
        """Fail first."""
        return await self._shake("record_submitted", super().record_submitted(job, event))

    async def _shake(self, name: str, write: Any) -> Job:
        if self._outages.get(name, 0) > 0:
            self._outages[name] -= 1
            write.close()
            raise PostgresDown("Postgres does not answer: a drill")
        stored: Job = await write
        if self._lost_replies.get(name, 0) > 0:
            self._lost_replies[name] -= 1
            raise PostgresDown("Postgres does not answer: the reply was lost")
        return stored


@pytest.mark.parametrize(
    ("kie_outcome", "state", "reason", "outcome", "held"),
    [
        (Accepted("t1"), "generating", None, "accepted", PRICE),
        (TryLater(Reason.RATE_LIMITED, "429"), "queued", "rate_limited", "deferred", PRICE),
        (TryLater(Reason.MAINTENANCE, "455"), "queued", "maintenance", "deferred", PRICE),
        (TryLater(Reason.PROVIDER_FULL, "550"), "queued", "provider_full", "deferred", PRICE),
        (TryLater(Reason.UNREACHABLE, "refused"), "queued", "unreachable", "deferred", PRICE),
        (AccountBlocked("key", 401), "queued", "account_refused", "deferred", PRICE),
        (AccountBlocked("credits", 402), "queued", "account_refused", "deferred", PRICE),
        (AccountBlocked("blocked", 403), "queued", "account_refused", "deferred", PRICE),
        (AccountBlocked("cap", 433), "queued", "account_refused", "deferred", PRICE),
        (Refused("bad ratio", 400), "failed", "rejected", "rejected", 0),
        (Refused("no such model", 404), "failed", "rejected", "rejected", 0),
        (Refused("prompt too long", 422), "failed", "rejected", "rejected", 0),
        (Ambiguous(Reason.REPLY_LOST, "timeout"), "unknown", "reply_lost", "unknown", PRICE),
        (Ambiguous(Reason.SERVER_ERROR, "500"), "unknown", "server_error", "unknown", PRICE),
    ],
    ids=lambda value: getattr(value, "message", None),
)
async def test_each_answer_to_a_submit_has_its_row(
    setup: WorkerSetup, kie_outcome: SubmitOutcome, state: str, reason: str, outcome: str, held: int
) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(kie_outcome)
    delay_seconds = await setup.submit(job)
    after = await setup.now_is(job)
    task_id = "t1" if state == "generating" else None
    assert (after.state, after.reason, after.provider_task_id) == (state, reason, task_id)
    assert await setup.attempts(job) == [(outcome, task_id)]
    assert await setup.money() == (START, held)
    assert (delay_seconds is not None) == (state == "queued")
    if state == "queued":
        assert after.due_at > job.due_at
        assert delay_seconds is not None
        assert delay_seconds >= 0.5
    if not isinstance(kie_outcome, Accepted):
        assert after.message == kie_outcome.message


async def test_an_accepted_job_has_its_first_poll_delivered(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    due_in = await setup.delivery_due_in_seconds(job.id, Lane.POLL)
    assert due_in is not None
    assert FIRST_POLL_SECONDS - 1 < due_in <= FIRST_POLL_SECONDS
    deadline_at = (await setup.now_is(job)).deadline_at
    assert deadline_at is not None
    assert abs((deadline_at - setup.clock.now()).total_seconds() - 1800) < 30


@pytest.mark.parametrize(
    ("base", "expected"),
    [(None, None), ("https://darkroom.example", "https://darkroom.example/callbacks/kie/{token}")],
)
async def test_the_attempts_own_token_stands_in_its_callback_url(
    setup: WorkerSetup, base: str | None, expected: str | None
) -> None:
    setup = setup.with_settings(kie_callback_url=base)
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    (row,) = await setup.sql("SELECT token FROM job_attempts")
    (call,) = setup.kie.submit_calls
    assert call.callback_url == (expected.format(**row) if expected else None)
    assert len(row["token"]) >= 20


async def test_the_intent_is_committed_before_the_post(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    seen: list[tuple[str, list[Any]]] = []

    class Watching(FakeKie):
        async def submit(self, *args: Any, **options: Any) -> SubmitOutcome:
            seen.append(((await setup.now_is(job)).state.value, await setup.attempts(job)))
            return await super().submit(*args, **options)

    setup = setup.with_kie(Watching(submits=[Accepted("t1")]))
    await setup.submit(job)
    assert seen == [("submitting", [(None, None)])]


@pytest.mark.parametrize(
    "refusal",
    [
        TryLater(Reason.RATE_LIMITED, "429"),
        AccountBlocked("credits", 402),
        WrongEndpoint("404"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_a_refused_attempt_of_a_job_whose_cancel_was_requested_is_its_end(
    setup: WorkerSetup, refusal: SubmitOutcome
) -> None:
    job, changes = await setup.enqueue(), list[Change]()

    class CancelledMeanwhile(FakeKie):
        async def submit(self, *args: Any, **options: Any) -> SubmitOutcome:
            assert (await setup.producer.cancel(job.id)).is_cancel_requested
            return await super().submit(*args, **options)

    kie = CancelledMeanwhile(submits=[refusal])
    setup = setup.with_kie(kie).with_deps(publish_change=changes.append)
    assert await setup.submit(job) is None
    ended = await setup.now_is(job)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled_by_caller")
    assert await setup.money() == (START, 0)
    assert changes[-1] == Change(job.id, has_ended=True)
    await setup.make_due(job)
    assert await setup.submit(job) is None
    assert await setup.attempts(job) == [("deferred", None)]


async def test_a_deferred_job_is_submitted_again_as_a_new_attempt(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits += [TryLater(Reason.RATE_LIMITED, "429"), Accepted("t1")]
    assert await setup.submit(job)
    await setup.make_due(job)
    await setup.submit(job)
    assert await setup.attempts(job) == [("deferred", None), ("accepted", "t1")]
    assert (await setup.now_is(job)).reason is None


async def test_a_job_before_its_run_at_is_not_submitted_and_comes_back_then(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue(run_at=setup.clock.now() + timedelta(seconds=60))
    delay_seconds = await setup.submit(job)
    assert delay_seconds == pytest.approx(60, abs=1)
    assert setup.kie.submit_calls == []


async def test_a_job_found_submitting_is_never_posted_again(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await setup.deps.store.claim(job, job_events.Claimed("t" * 24, "dead:1", "default"))
    await setup.let_pass(4)
    with pytest.raises(TooEarly) as early:
        await setup.submit(job)
    assert (
        5 < early.value.wait_seconds <= 6.1
    )  # what is left of the lease of the one who claimed it
    assert (await setup.now_is(job)).state == JobState.SUBMITTING
    await setup.let_pass(early.value.wait_seconds)
    assert await setup.submit(job) is None
    after = await setup.now_is(job)
    assert (after.state, after.reason) == ("unknown", "worker_lost")
    assert setup.kie.submit_calls == []
    assert await setup.money() == (START, PRICE)


async def test_an_unknown_job_is_left_alone(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Ambiguous(Reason.REPLY_LOST, "timeout"))
    await setup.submit(job)
    assert await setup.submit(job) is None
    assert len(setup.kie.submit_calls) == 1


async def test_a_reply_after_unknown_is_accepted(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await _reply_after(setup, job, lambda: _declare_unknown(setup, job))
    after = await setup.now_is(job)
    assert (after.state, after.provider_task_id) == ("generating", "t1")
    assert await setup.attempts(job) == [("accepted", "t1")]
    assert await setup.delivery_due_in_seconds(job.id, Lane.POLL) is not None


async def test_a_reply_after_submission_lost_is_kept_on_the_attempt_as_evidence(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue()

    async def lose() -> None:
        await _declare_unknown(setup, job)
        await setup.deps.store.lose_submission(job.id, 1, job_events.SubmissionLost("too late"))

    with structlog.testing.capture_logs() as logs:
        await _reply_after(setup, job, lose)
    after = await setup.now_is(job)
    assert (after.state, after.reason) == ("failed", "submission_lost")
    assert await setup.attempts(job) == [("lost", "t1")]
    assert await setup.money() == (START, 0)
    assert [log["log_level"] for log in logs if log["event"] == "task_without_job"] == ["error"]


async def test_a_reply_to_an_older_attempt_moves_nothing(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    claimed = await setup.deps.store.claim(job, job_events.Claimed("a" * 24, "w", "default"))
    await setup.deps.store.record_deferred(claimed, job_events.Deferred("rate_limited", "429", 0))
    await setup.make_due(job)
    await setup.deps.store.claim(job, job_events.Claimed("b" * 24, "w", "default"))
    with pytest.raises(StaleJob):
        await setup.deps.store.record_submitted(claimed, job_events.Submitted("t1", 60))
    assert (await setup.now_is(job)).state == "submitting"


async def test_the_worker_retries_storing_a_task_id_while_postgres_is_down(
    setup: WorkerSetup,
) -> None:
    setup = setup.with_deps(store=FailingStore(setup, outages={"record_submitted": 6}))
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    assert (await setup.now_is(job)).provider_task_id == "t1"
    assert len(setup.slept) == 6
    assert len(setup.kie.submit_calls) == 1
    assert max(setup.slept) <= 5


async def test_storing_a_task_id_is_retried_without_a_time_limit(setup: WorkerSetup) -> None:
    setup = setup.with_deps(store=FailingStore(setup, outages={"record_submitted": 2_000}))
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    assert sum(setup.slept) > 3_600
    assert (await setup.now_is(job)).provider_task_id == "t1"
    assert len(setup.kie.submit_calls) == 1


async def test_a_worker_that_must_go_says_which_task_id_it_could_not_store(
    setup: WorkerSetup,
) -> None:
    asleep = asyncio.Event()

    async def sleep_until_cancelled(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    store = FailingStore(setup, outages={"record_submitted": 1})
    setup = setup.with_deps(store=store, sleep=sleep_until_cancelled)
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    with structlog.testing.capture_logs() as logs:
        submit = asyncio.create_task(setup.submit(job))
        await asyncio.wait_for(asleep.wait(), 5)
        submit.cancel()
        await asyncio.wait([submit])
    assert submit.cancelled()
    facts = {"job_id": str(job.id), "attempt": 1, "account": "default", "provider_task_id": "t1"}
    said = [one for one in logs if one["log_level"] == "error"]
    assert [one["event"] for one in said] == ["task_id_not_stored_yet", "task_id_not_stored"]
    assert all(facts.items() <= one.items() for one in said)
    assert (await setup.now_is(job)).state == "submitting"


async def test_a_task_id_stored_with_a_lost_reply_is_recognised_as_our_own(
    setup: WorkerSetup,
) -> None:
    store = FailingStore(setup, outages={}, lost_replies={"record_submitted": 1})
    setup = setup.with_deps(store=store)
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    with structlog.testing.capture_logs() as logs:
        await setup.submit(job)
    assert (await setup.now_is(job)).state == "generating"
    assert await setup.delivery_due_in_seconds(job.id, Lane.POLL) is not None
    assert "task_without_job" not in {log["event"] for log in logs}


async def test_a_claim_with_a_lost_reply_continues_with_the_same_token_once(
    setup: WorkerSetup,
) -> None:
    store = FailingStore(setup, outages={"claim": 1}, lost_replies={"claim": 1})
    setup = setup.with_deps(store=store)
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    assert len(store.tokens) == 3
    assert len(set(store.tokens)) == 1
    assert await setup.attempts(job) == [("accepted", "t1")]
    assert len(setup.kie.submit_calls) == 1


async def test_a_job_unfit_for_this_catalog_waits_for_a_newer_worker(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await setup.sql(
        """UPDATE jobs SET request = '{"prompt": "x", "wings": 2}'::jsonb WHERE id = $1""", job.id
    )
    with structlog.testing.capture_logs() as logs:
        delay_seconds = await setup.submit(job)
    assert delay_seconds == 60
    assert (await setup.now_is(job)).state == "queued"
    assert [log["log_level"] for log in logs if log["event"] == "job_not_in_catalog"] == ["error"]


async def test_a_generating_job_in_the_submit_lane_gets_its_poll_delivered(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    await setup.submit(job)
    await setup.redis.flushall()
    assert await setup.submit(job) is None
    assert await setup.delivery_due_in_seconds(job.id, Lane.POLL) is not None
    assert len(setup.kie.submit_calls) == 1


async def test_a_cancelled_job_is_not_submitted(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await setup.producer.cancel(job.id)
    assert await setup.submit(job) is None
    assert setup.kie.submit_calls == []


async def test_a_job_cancelled_between_read_and_claim_is_not_posted(setup: WorkerSetup) -> None:
    job = await setup.enqueue()

    class Cancelling(JobStore):
        async def claim(self, job: Job, event: job_events.Claimed) -> Job:
            await setup.producer.cancel(job.id)
            return await super().claim(job, event)

    setup = setup.with_deps(store=Cancelling(setup.database))
    with pytest.raises(StaleJob):
        await setup.submit(job)
    assert setup.kie.submit_calls == []
    assert await setup.money() == (START, 0)


async def test_ten_steps_at_once_post_one_job_once(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("t1"))
    outcomes = await asyncio.gather(*(setup.submit(job) for _ in range(10)), return_exceptions=True)
    assert len(setup.kie.submit_calls) == 1
    assert all(isinstance(one, StaleJob | float | None) for one in outcomes), outcomes
    assert await setup.attempts(job) == [("accepted", "t1")]


async def test_a_delivery_without_a_job_says_so(setup: WorkerSetup) -> None:
    with pytest.raises(JobNotFound):
        await submit_job(setup.deps, uuid4())


async def _declare_unknown(setup: WorkerSetup, job: Job) -> None:
    claimed = await setup.now_is(job)
    await setup.deps.store.record_unknown(
        claimed, job_events.OutcomeUnknown("worker_lost", "drill")
    )


async def _reply_after(setup: WorkerSetup, job: Job, meanwhile: Any) -> None:
    """Submit, and change the job while the POST is in progress."""

    class Slow(FakeKie):
        async def submit(self, *args: Any, **options: Any) -> SubmitOutcome:
            await meanwhile()
            return await super().submit(*args, **options)

    await setup.with_kie(Slow(submits=[Accepted("t1")])).submit(job)
