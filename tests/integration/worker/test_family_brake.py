"""The brake of one model family on a real Valkey: failures that may have cost money pause it."""

from __future__ import annotations

from collections import Counter
from uuid import UUID, uuid4

import pytest
import structlog
from arq.connections import ArqRedis

from producer import Job
from shared.domain.kie_outcomes import (
    Accepted,
    Ambiguous,
    Delivered,
    ModelGone,
    NoVerdict,
    Pending,
    Refused,
    SubmitOutcome,
    TaskFailed,
    TryLater,
    WrongEndpoint,
)
from shared.domain.lifecycle import Reason
from shared.kie_accounts import DEFAULT_ACCOUNT
from tests.integration.worker.worker_setup import PRICE, START, WorkerSetup
from tests.support.deployment import eventually, text_to_image
from worker.batching.redis_scripts import RedisScripts
from worker.limits.account_brake import AccountBrake
from worker.limits.family_brake import FamilyBrake, FamilyBrakeRules, PauseRule
from worker.poll_timing.poll_planner import OVERDUE_UNLEARNED_SECONDS
from worker.steps.poll import LAST_POLL_LIMIT_SECONDS, WRONG_ENDPOINT_POLL_SECONDS

MODEL = "gpt-4o-image"
RULES = FamilyBrakeRules(
    uncertain_submits=PauseRule(3, 60, 240),
    wrong_endpoint=PauseRule(1, 60, 240),
    failed_tasks=PauseRule(3, 60, 240),
    window_ms=5_000,
)
LOST = Ambiguous(Reason.SERVER_ERROR, "Kie answered 500")


@pytest.fixture
def brake(redis: ArqRedis) -> FamilyBrake:
    """A brake whose pauses are over soon."""
    return FamilyBrake(RedisScripts(redis), DEFAULT_ACCOUNT, MODEL, rules=RULES)


async def when_open(brake: FamilyBrake, redis: ArqRedis) -> None:
    """Wait until the pause is over."""

    async def is_over() -> bool:
        until = await redis.hget(brake.key, "until")  # type: ignore[misc]
        seconds, microseconds = await redis.time()
        return bool(float(until or 0) <= seconds * 1000 + microseconds // 1000)

    await eventually(is_over, "the pause is over", 2)


async def uncertain(brake: FamilyBrake, job_id: UUID | None = None) -> float:
    return await brake.record_uncertain_submit(job_id or uuid4(), "server_error", "500")


async def applied(brake: FamilyBrake, redis: ArqRedis, *, tasks: bool = False) -> None:
    """Apply it, and wait until the pause is over."""
    for _ in range(3):
        if tasks:
            await brake.record_task_failure(uuid4(), "provider_failed", "broken")
        else:
            await uncertain(brake)
    assert brake.level == 1
    await when_open(brake, redis)


async def test_one_lost_reply_slows_nothing_down_and_three_in_a_row_do(
    brake: FamilyBrake,
) -> None:
    assert [await uncertain(brake) for _ in range(3)] == [0, 0, 0.06]
    assert brake.level == 1


async def test_a_success_between_them_restarts_the_count(brake: FamilyBrake) -> None:
    for _ in range(5):
        assert await uncertain(brake) == 0
        assert await uncertain(brake) == 0
        assert brake.needs_success_reports
        await brake.record_accepted(uuid4())
        assert not brake.needs_success_reports
    assert brake.level == 0


async def test_a_row_that_takes_too_long_starts_again(redis: ArqRedis) -> None:
    rules = FamilyBrakeRules(uncertain_submits=PauseRule(3, 60, 240), window_ms=40)
    brake = FamilyBrake(RedisScripts(redis), DEFAULT_ACCOUNT, MODEL, rules=rules)
    await uncertain(brake)
    await uncertain(brake)

    async def is_forgotten() -> bool:
        return not await redis.exists(brake.key)

    await eventually(is_forgotten, "the window is over", 2)
    assert await uncertain(brake) == 0


async def test_a_wrong_endpoint_pauses_at_once(brake: FamilyBrake) -> None:
    assert await brake.record_wrong_endpoint(uuid4(), "404") == 0.06


async def test_one_job_at_a_time_probes_over_all_workers(
    brake: FamilyBrake, redis: ArqRedis
) -> None:
    other = FamilyBrake(RedisScripts(redis), DEFAULT_ACCOUNT, MODEL, rules=RULES)
    first, second = uuid4(), uuid4()
    for _ in range(3):
        await uncertain(brake)
    assert 0 < await other.probe_wait_seconds(first) <= 0.06
    await when_open(brake, redis)
    assert await brake.probe_wait_seconds(first) == 0
    assert await brake.probe_wait_seconds(first) == 0, "its own delivery may come twice"
    assert await other.probe_wait_seconds(second) > 0
    await brake.end_probe(first)
    assert await other.probe_wait_seconds(second) == 0


async def test_a_probe_whose_worker_was_killed_does_not_block_others_for_ever(
    redis: ArqRedis,
) -> None:
    rules = FamilyBrakeRules(uncertain_submits=PauseRule(3, 10, 10), submit_probe_ms=80)
    brake = FamilyBrake(RedisScripts(redis), DEFAULT_ACCOUNT, MODEL, rules=rules)
    await applied(brake, redis)
    assert await brake.probe_wait_seconds(uuid4()) == 0

    async def is_let_in() -> bool:
        return await brake.probe_wait_seconds(UUID(int=7)) == 0

    await eventually(is_let_in, "the next probe goes", 2)


async def test_only_probes_make_the_pause_longer(brake: FamilyBrake, redis: ArqRedis) -> None:
    await applied(brake, redis)
    for _ in range(5):
        assert await uncertain(brake) == 0, "it was sent before the pause"
    pauses = []
    for _ in range(4):
        probe = uuid4()
        assert await brake.probe_wait_seconds(probe) == 0
        pauses.append(await uncertain(brake, probe))
        await when_open(brake, redis)
    assert pauses == [0.12, 0.24, 0.24, 0.24]


async def test_probes_that_pass_open_the_family_in_a_few_steps(
    brake: FamilyBrake, redis: ArqRedis
) -> None:
    await applied(brake, redis)
    for _ in range(3):
        probe = uuid4()
        await brake.probe_wait_seconds(probe)
        await uncertain(brake, probe)
        await when_open(brake, redis)
    levels = [brake.level]
    while brake.level:
        probe = uuid4()
        assert await brake.probe_wait_seconds(probe) == 0
        await brake.record_accepted(probe)
        levels.append(brake.level)
    assert levels == [4, 2, 1, 0]
    assert await brake.probe_wait_seconds(uuid4()) == 0


async def test_what_was_sent_before_the_pause_does_not_end_it(
    brake: FamilyBrake, redis: ArqRedis
) -> None:
    await applied(brake, redis)
    await brake.record_accepted(uuid4())
    await brake.record_delivered(uuid4())
    assert brake.level == 1


async def test_where_tasks_went_wrong_a_probe_must_end_well(
    brake: FamilyBrake, redis: ArqRedis
) -> None:
    await applied(brake, redis, tasks=True)
    probe = uuid4()
    assert await brake.probe_wait_seconds(probe) == 0
    await brake.record_accepted(probe)
    assert brake.level == 1
    assert await brake.probe_wait_seconds(uuid4()) > 0, "its task has not ended"
    await brake.record_delivered(probe)
    assert brake.level == 0


async def test_tasks_and_submits_that_go_wrong_are_counted_apart(brake: FamilyBrake) -> None:
    for _ in range(2):
        await uncertain(brake)
        await brake.record_task_failure(uuid4(), "provider_failed", "broken")
    assert brake.level == 0
    await brake.record_accepted(uuid4())
    assert brake.needs_success_reports, "the row of tasks goes on"
    await brake.record_task_failure(uuid4(), "provider_failed", "broken")
    assert brake.level == 1


async def test_a_wiped_redis_forgets_it_and_it_is_learned_again(
    brake: FamilyBrake, redis: ArqRedis
) -> None:
    for _ in range(3):
        await uncertain(brake)
    await redis.flushall()
    assert await brake.probe_wait_seconds(uuid4()) == 0
    assert [await uncertain(brake) for _ in range(3)] == [0, 0, 0.06]


async def test_the_reason_and_since_when_are_kept(brake: FamilyBrake, redis: ArqRedis) -> None:
    await applied(brake, redis)
    before = await redis.hgetall(brake.key)  # type: ignore[misc]
    probe = uuid4()
    await brake.probe_wait_seconds(probe)
    await uncertain(brake, probe)
    after = await redis.hgetall(brake.key)  # type: ignore[misc]
    assert (after[b"reason"], after[b"message"]) == (b"server_error", b"500")
    assert after[b"since"] == before[b"since"]


async def test_a_pause_is_logged_as_an_error_once_and_then_as_info(
    brake: FamilyBrake, redis: ArqRedis
) -> None:
    with structlog.testing.capture_logs() as logs:
        await brake.record_wrong_endpoint(uuid4(), "404")
        for _ in range(3):
            await when_open(brake, redis)
            probe = uuid4()
            await brake.probe_wait_seconds(probe)
            await brake.record_wrong_endpoint(probe, "404")
    levels = Counter(log["log_level"] for log in logs if log["event"] == "submits_paused")
    assert levels == {"critical": 1, "warning": 3}
    assert all("KIE_BASE_URL" in log["meaning"] for log in logs)


# --- the steps --------------------------------------------------------------------------------


@pytest.fixture
def quick(setup: WorkerSetup) -> WorkerSetup:
    """The worker's setup, with a family brake whose pauses are over soon."""
    return setup.with_kie(setup.kie, AccountBrake(setup.deps.scripts, family_rules=RULES))


def family_of(setup: WorkerSetup) -> FamilyBrake:
    (account,) = setup.deps.accounts
    return account.brake.family_brake(MODEL)


async def submitted(setup: WorkerSetup, kie_outcome: SubmitOutcome) -> Job:
    job = await setup.enqueue(text_to_image())
    setup.kie.submits.append(kie_outcome)
    await setup.submit(job)
    return await setup.now_is(job)


async def test_a_job_of_a_paused_family_is_handed_back_without_an_attempt(
    quick: WorkerSetup,
) -> None:
    for _ in range(3):
        assert (await submitted(quick, LOST)).state == "unknown"
    job = await quick.enqueue(text_to_image())
    delay_seconds = await quick.submit(job)
    assert delay_seconds is not None
    assert 0 < delay_seconds <= 0.06
    after = await quick.now_is(job)
    assert (after.state, after.attempt) == ("queued", 0)
    assert await quick.attempts(job) == []
    assert await quick.money() == (START, 4 * PRICE)
    assert len(quick.kie.submit_calls) == 3


@pytest.mark.parametrize(
    ("kie_outcome", "level"),
    [
        (Accepted("t1"), 0),
        (Refused("422", 422), 1),
        (TryLater(Reason.RATE_LIMITED, "429"), 1),
        (LOST, 2),
        (WrongEndpoint("404"), 2),
        (ModelGone("422"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_answer_to_a_probe_opens_prolongs_or_proves_nothing(
    quick: WorkerSetup, kie_outcome: SubmitOutcome, level: int
) -> None:
    for _ in range(3):
        await submitted(quick, LOST)
    await when_open(family_of(quick), quick.redis)
    await submitted(quick, kie_outcome)
    assert family_of(quick).level == level
    if level == 1:
        assert await family_of(quick).probe_wait_seconds(uuid4()) == 0, "the next probe may go"


async def test_a_wrong_endpoint_puts_the_job_back_and_costs_nothing(quick: WorkerSetup) -> None:
    job = await submitted(quick, WrongEndpoint("the endpoint is wrong: HTTP 404"))
    assert (job.state, job.reason) == ("queued", "wrong_endpoint")
    assert await quick.attempts(job) == [("deferred", None)]
    assert await quick.money() == (START, PRICE)
    assert family_of(quick).level == 1


async def test_a_model_that_kie_has_withdrawn_pauses_its_family_and_costs_nothing(
    quick: WorkerSetup,
) -> None:
    job = await submitted(quick, ModelGone("Kie answered 422: the model is not supported"))
    assert (job.state, job.reason) == ("queued", "model_gone")
    assert await quick.attempts(job) == [("deferred", None)]
    assert await quick.money() == (START, PRICE)
    assert family_of(quick).level == 1


async def test_a_request_that_kie_refuses_ends_its_job_and_pauses_nothing(
    quick: WorkerSetup,
) -> None:
    job = await submitted(quick, Refused("Kie answered 422: aspect_ratio is required", 422))
    assert (job.state, job.reason) == ("failed", "rejected")
    assert await quick.money() == (START, 0)
    assert family_of(quick).level == 0


async def test_a_web_page_keeps_the_hold_and_pauses_at_once(quick: WorkerSetup) -> None:
    page = Ambiguous(Reason.REPLY_LOST, "a web page in place of JSON", wrong_endpoint=True)
    job = await submitted(quick, page)
    assert (job.state, job.reason) == ("unknown", "reply_lost")
    assert await quick.money() == (START, PRICE)
    assert family_of(quick).level == 1


async def failed_task(setup: WorkerSetup, number: int, kie_outcome: TaskFailed) -> None:
    job = await submitted(setup, Accepted(f"t{number}"))
    setup.kie.polls.append(kie_outcome)
    await setup.poll(job)
    assert (await setup.now_is(job)).state == "failed"


@pytest.mark.parametrize(
    ("kie_outcome", "level"),
    [
        (TaskFailed("provider_failed", "Internal Error"), 1),
        (TaskFailed("provider_failed", "cannot fetch the image", is_request_fault=True), 0),
        (TaskFailed("content_policy", "nsfw", is_request_fault=True), 0),
    ],
    ids=["kie", "input", "policy"],
)
async def test_tasks_that_kie_failed_pause_the_family_and_callers_faults_do_not(
    quick: WorkerSetup, kie_outcome: TaskFailed, level: int
) -> None:
    for number in range(3):
        await failed_task(quick, number, kie_outcome)
    assert family_of(quick).level == level


async def test_tasks_that_do_not_end_pause_the_family_long_before_their_deadline(
    quick: WorkerSetup,
) -> None:
    jobs = [await submitted(quick, Accepted(f"t{number}")) for number in range(3)]
    quick.clock.advance(OVERDUE_UNLEARNED_SECONDS + 1)
    for job in jobs:
        quick.kie.polls += [Pending(0.5), Pending(0.5)]
        await quick.poll(job)
        await quick.poll(job)
    assert family_of(quick).level == 1
    assert {(await quick.now_is(job)).state for job in jobs} == {"generating"}


async def test_deadlines_in_a_row_pause_the_family(quick: WorkerSetup) -> None:
    jobs = [await submitted(quick, Accepted(f"t{number}")) for number in range(3)]
    await quick.let_pass(1801)
    for job in jobs:
        quick.kie.polls.append(Pending(0.5))
        await quick.poll(job)
        assert (await quick.now_is(job)).reason == "deadline_exceeded"
    assert family_of(quick).level == 1
    assert not quick.deps.poll_state.overdue_jobs


async def test_a_probe_that_is_delivered_opens_a_family_that_was_paused_for_its_tasks(
    quick: WorkerSetup,
) -> None:
    for number in range(3):
        await failed_task(quick, number, TaskFailed("provider_failed", "Internal Error"))
    await when_open(family_of(quick), quick.redis)
    probe = await submitted(quick, Accepted("probe"))
    assert probe.state == "generating"
    assert family_of(quick).level == 1
    waiting = await quick.enqueue(text_to_image())
    assert (await quick.submit(waiting) or 0) > 0
    quick.kie.polls.append(Delivered(("https://example.com/1.png",)))
    await quick.poll(probe)
    assert family_of(quick).level == 0


async def test_a_poll_that_not_kies_endpoint_answers_ends_no_job_whatever_the_time(
    quick: WorkerSetup,
) -> None:
    job = await submitted(quick, Accepted("t1"))
    quick.clock.advance(1801 + LAST_POLL_LIMIT_SECONDS * 10)
    quick.kie.polls += [NoVerdict("404", wrong_endpoint=True)] * 2
    assert [await quick.poll(job) for _ in range(2)] == [WRONG_ENDPOINT_POLL_SECONDS] * 2
    assert (await quick.now_is(job)).state == "generating"
    quick.kie.polls.append(Delivered(("https://example.com/1.png",)))
    await quick.poll(job)
    assert (await quick.now_is(job)).state == "succeeded"


async def test_success_asks_redis_for_nothing_more(quick: WorkerSetup) -> None:
    job = await submitted(quick, Accepted("t1"))
    quick.kie.polls.append(Delivered(("https://example.com/1.png",)))
    await quick.poll(job)
    assert not await quick.redis.exists(family_of(quick).key)
    assert not family_of(quick).needs_success_reports
