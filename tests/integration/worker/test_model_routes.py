"""What a worker does with the route of a model: submits, polls, brakes, waits and evidence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from producer import Job
from shared.adapters.redis.deliveries import Delivery, Lane
from shared.domain import job_events
from shared.domain.kie_outcomes import Accepted, Delivered, Pending, WrongEndpoint
from shared.domain.lifecycle import JobState, Reason
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup, listen
from tests.support.deployment import eventually, text_to_image
from worker.callbacks.callback_handler import CallbackHandler
from worker.limits.model_routes import RoutedJob
from worker.poll_timing import TaskKind
from worker.recovery.late_task_checks import LateTaskChecks
from worker.recovery.route_watch import CHECK_AGAIN_SECONDS, READ_SECONDS, RouteWatch
from worker.store.job_store import JobStore

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
URLS = ("https://images.example/1.png",)
GONE = WrongEndpoint("HTTP 404 without Kie's envelope: No message available")


async def route(setup: WorkerSetup, via: str) -> None:
    await setup.sql("SELECT id FROM darkroom_route_model($1, $2, 'why')", MODEL, via)


def submitted_by(setup: WorkerSetup) -> list[str]:
    return [call.family for call in setup.kie.submit_calls]


async def test_a_job_is_sent_and_polled_by_the_route_of_its_attempt_and_paid_as_its_model(
    setup: WorkerSetup,
) -> None:
    old, new = await setup.enqueue(), await setup.enqueue()
    setup.kie.submits.extend([Accepted("task-old"), Accepted("task-new")])
    await setup.submit(old)
    await route(setup, ROUTE)
    await setup.submit(new)
    assert submitted_by(setup) == [MODEL, ROUTE]
    setup.kie.polls.extend([Delivered(URLS), Delivered(URLS)])
    # By a worker that has just started, and by one that remembers the job.
    await setup.with_deps(store=JobStore(setup.database)).poll(old)
    await setup.poll(new)
    assert [call.family for call in setup.kie.poll_calls] == [MODEL, ROUTE]
    ended = [await setup.now_is(old), await setup.now_is(new)]
    assert [(job.model, job.route, job.credits_charged) for job in ended] == [
        (MODEL, None, PRICE),
        (MODEL, ROUTE, PRICE),
    ]
    assert await setup.money() == (START - 2 * PRICE, 0)


async def test_how_long_tasks_take_is_learned_by_route(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    assert TaskKind.of(replace(job, route=ROUTE)) != TaskKind.of(job)
    assert TaskKind.of(replace(job, route=ROUTE)).model == ROUTE


async def test_the_brake_of_a_route_that_is_gone_does_not_stop_the_new_one(
    setup: WorkerSetup,
) -> None:
    first, second = await setup.enqueue(), await setup.enqueue()
    setup.kie.submits.extend([GONE, Accepted("task-1"), Accepted("task-2")])
    assert (await setup.submit(first) or 0) > 10
    assert (await setup.now_is(first)).reason == Reason.WRONG_ENDPOINT
    assert (await setup.submit(second) or 0) > 10, "its family is paused"
    await route(setup, ROUTE)
    assert await setup.submit(second) is None
    assert await setup.submit(first) is None
    assert submitted_by(setup) == [MODEL, ROUTE, ROUTE]
    assert [await setup.attempts(job) for job in (first, second)] == [
        [("deferred", None), ("accepted", "task-2")],
        [("accepted", "task-1")],
    ]


async def test_a_route_that_is_taken_back_is_probed_at_once(setup: WorkerSetup) -> None:
    jobs = [await setup.enqueue() for _ in range(3)]
    watch = RouteWatch(setup.deps)
    setup.kie.submits.extend([GONE, Accepted("task-1"), Accepted("task-2")])
    await setup.submit(jobs[0])
    await route(setup, ROUTE)
    await watch.read()
    await route(setup, MODEL)
    assert (await setup.submit(jobs[1]) or 0) > 10, "the pause of its family lasts"
    await watch.read()
    assert await setup.submit(jobs[1]) is None, "it is the probe"
    assert await setup.submit(jobs[2]) is None, "the probe went well"


@dataclass(slots=True)
class _RouteChange:
    """Changes the route after the job was read and before it is claimed."""

    setup: WorkerSetup
    via: str


class ChangingStore(JobStore):
    """A store that changes the route once, just after it has read a job."""

    change: _RouteChange | None = None

    async def load_for_submit(self, job_id: UUID) -> RoutedJob:
        loaded = await super().load_for_submit(job_id)
        change, self.change = self.change, None
        if change is not None:
            await route(change.setup, change.via)
        return loaded


async def test_a_job_whose_route_changes_between_its_reading_and_its_claim_is_read_again(
    setup: WorkerSetup,
) -> None:
    there, back = await setup.enqueue(), await setup.enqueue()
    store = ChangingStore(setup.database)
    changing = setup.with_deps(store=store)
    setup.kie.submits.extend([Accepted("task-1"), Accepted("task-2")])
    for job, via in ((there, ROUTE), (back, MODEL)):
        store.change = _RouteChange(setup, via)
        assert await changing.submit(job) == 0
        assert (await setup.now_is(job)).attempt == 0, "nothing was written"
        assert await changing.submit(job) is None
    assert submitted_by(setup) == [ROUTE, MODEL]


async def test_a_job_that_is_found_unfit_while_the_route_is_taken_back_does_not_wait(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue(text_to_image(quantity=2))
    await route(setup, ROUTE)
    store = ChangingStore(setup.database)
    store.change = _RouteChange(setup, MODEL)
    setup.kie.submits.append(Accepted("task-1"))
    assert await setup.with_deps(store=store).submit(job) == 0
    assert (await setup.now_is(job)).reason is None
    assert await setup.submit(job) is None
    assert submitted_by(setup) == [MODEL]


async def test_a_job_that_the_route_cannot_carry_waits_with_its_hold_and_says_which_field(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue(text_to_image(quantity=2, enhance_prompt=True))
    money = await setup.money()
    await route(setup, ROUTE)
    assert await setup.submit(job) is None, "the delivery ends"
    await setup.choose()
    assert await setup.redis.zcard(Lane.SUBMIT.value) == 1, "only that of the enqueue is left"
    waiting = await setup.now_is(job)
    assert (waiting.due_at - setup.clock.now()).total_seconds() > 600
    assert (waiting.state, waiting.reason, waiting.attempt) == (
        JobState.QUEUED,
        Reason.ROUTE_UNFIT,
        0,
    )
    assert waiting.message is not None
    assert all(word in waiting.message for word in ("quantity", "enhance_prompt", ROUTE))
    assert await setup.money() == money
    assert setup.kie.submit_calls == []
    assert await setup.events(job) == ["enqueued", "route_unfit"]
    await route(setup, MODEL)
    setup.kie.submits.append(Accepted("task-1"))
    assert await setup.submit(job) is None
    assert submitted_by(setup) == [MODEL]


async def test_a_route_that_this_worker_does_not_know_leaves_the_job_queued_for_a_newer_one(
    setup: WorkerSetup,
) -> None:
    job = await setup.enqueue()
    await setup.sql(
        "INSERT INTO model_routes (model, via, routed_by) VALUES ($1, 'of-2030', 'maria')", MODEL
    )
    assert await setup.submit(job) == 60
    assert (await setup.now_is(job)).attempt == 0


# --- deliveries -----------------------------------------------------------------------------


async def deliver_in(setup: WorkerSetup, seconds: float, *jobs: Job) -> None:
    """Let these jobs be delivered after so many seconds, as after a snooze."""
    for job in jobs:
        await setup.redis.zrem(Lane.SUBMIT.value, Lane.SUBMIT.arq_id(job.id))
    deliveries = [Delivery(job.id, Lane.SUBMIT, int(seconds * 1000)) for job in jobs]
    await setup.deps.delivery_queue.deliver(deliveries)


async def due_in(setup: WorkerSetup, job: Job) -> float:
    seconds = await setup.delivery_due_in_seconds(job.id, Lane.SUBMIT)
    assert seconds is not None
    return seconds


async def test_a_change_makes_waiting_jobs_due_in_their_order_and_leaves_later_ones(
    setup: WorkerSetup,
) -> None:
    jobs = [await setup.enqueue() for _ in range(3)]
    limited, deferred = await setup.enqueue(), await setup.enqueue()
    setup.kie.submits.append(GONE)
    await setup.submit(deferred)
    await setup.sql("UPDATE jobs SET due_at = now() + interval '5 min' WHERE id = $1", limited.id)
    await deliver_in(setup, 300, *jobs, limited, deferred)
    watch = RouteWatch(setup.deps)
    assert await watch.read() == READ_SECONDS
    assert await due_in(setup, jobs[0]) > 200, "nothing has changed"
    await route(setup, ROUTE)
    await watch.read()
    due = [await due_in(setup, job) for job in (*jobs, deferred)]
    assert max(due) <= 0
    assert due == sorted(due)
    assert await due_in(setup, limited) > 200


async def test_a_change_is_checked_once_more_and_then_left_alone(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    watch = RouteWatch(setup.deps)
    await route(setup, ROUTE)
    assert await watch.read() <= CHECK_AGAIN_SECONDS
    # A run that began before the change ends with a wait.
    await deliver_in(setup, 300, job)
    await setup.redis.delete(*await setup.redis.keys("darkroom:route_change:*"))
    setup.clock.advance(CHECK_AGAIN_SECONDS)
    assert await watch.read() == READ_SECONDS
    assert await due_in(setup, job) <= 0
    await deliver_in(setup, 300, job)
    setup.clock.advance(CHECK_AGAIN_SECONDS)
    await watch.read()
    assert await due_in(setup, job) > 200


async def test_a_worker_that_starts_ignores_changes_of_long_ago(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    await route(setup, ROUTE)
    await setup.sql("UPDATE model_routes SET routed_at = now() - interval '1 hour'")
    await deliver_in(setup, 300, job)
    await RouteWatch(setup.deps).read()
    assert await due_in(setup, job) > 200


async def test_a_delivery_that_runs_during_the_change_runs_once_more(setup: WorkerSetup) -> None:
    job = await setup.enqueue()
    arq_id = Lane.SUBMIT.arq_id(job.id)
    await setup.redis.set(f"arq:in-progress:{arq_id}", "another-worker")
    await route(setup, ROUTE)
    await RouteWatch(setup.deps).read()
    assert await setup.redis.exists(f"darkroom:hasten:{arq_id}")


async def test_a_change_is_acted_on_by_its_notification(
    setup: WorkerSetup, database_url: str
) -> None:
    job = await setup.enqueue()
    await deliver_in(setup, 300, job)
    watch = RouteWatch(setup.deps, read_seconds=600)
    tasks = [
        asyncio.create_task(listen(setup.deps, database_url)),
        asyncio.create_task(watch.run_until_cancelled()),
    ]

    async def listens() -> bool:
        return bool(await setup.sql(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND query ILIKE 'LISTEN%darkroom_dispatch%'"
        ))  # fmt: skip

    async def is_logged() -> bool:
        return any(line["event"] == "jobs_rerouted" and line["via"] == ROUTE for line in logs)

    try:
        await eventually(listens, "the worker listens")
        with structlog.testing.capture_logs() as logs:
            await route(setup, ROUTE)
            await eventually(is_logged, "the job is due", 5)
        assert await due_in(setup, job) <= 0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- evidence -------------------------------------------------------------------------------


async def test_a_submission_that_is_lost_by_the_new_route_is_recovered_by_it(
    setup: WorkerSetup,
) -> None:
    token, task = "t" * 24, "task-1"
    await route(setup, ROUTE)
    job = await setup.enqueue()
    await setup.deps.store.claim(job, job_events.Claimed(token, "killed:1", "default", ROUTE))
    await setup.let_pass(60)
    await setup.submit(job)
    assert (await setup.now_is(job)).state is JobState.UNKNOWN
    assert setup.kie.submit_calls == [], "nobody sends it again"
    await route(setup, MODEL)
    (row,) = await setup.sql(
        "INSERT INTO callback_inbox (token, provider_task_id) VALUES ($1, $2) RETURNING id",
        *(token, task),
    )
    setup.kie.callback_urls[task] = f"https://darkroom.example/callbacks/kie/{token}"
    setup.kie.polls.extend([Pending(0), Delivered(URLS)])
    await CallbackHandler(setup.deps, setup.database).handle(row["id"])
    recovered = await setup.now_is(job)
    assert (recovered.state, recovered.route) == (JobState.GENERATING, ROUTE)
    await setup.poll(job)
    assert [call.family for call in setup.kie.poll_calls] == [ROUTE, ROUTE]
    assert (await setup.now_is(job)).state is JobState.SUCCEEDED


async def test_a_late_task_is_asked_about_by_the_route_of_its_attempt(setup: WorkerSetup) -> None:
    await route(setup, ROUTE)
    job = await setup.enqueue()
    setup.kie.submits.append(Accepted("task-1"))
    await setup.submit(job)
    await route(setup, MODEL)
    await setup.let_pass(100_000)
    setup.kie.polls.append(Pending(0.5))
    await setup.poll(job)
    assert (await setup.now_is(job)).reason == Reason.DEADLINE_EXCEEDED
    await setup.sql("UPDATE late_tasks SET next_check_at = now()")
    setup.kie.polls.append(Delivered(URLS))
    assert await LateTaskChecks(setup.deps).check_due() == 1
    assert [call.family for call in setup.kie.poll_calls] == [ROUTE, ROUTE]
    assert (await setup.now_is(job)).late_result_urls == URLS
