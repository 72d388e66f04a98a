"""Completion times are learned by polls, shared by workers, limited in number, and required by no
step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import structlog

from producer import Job
from shared.adapters.postgres.database import Database
from shared.domain.kie_outcomes import Accepted, Delivered, Pending, PollOutcome, TaskFailed
from shared.domain.lifecycle import Reason
from shared.errors import DatabaseRefused, PostgresDown
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.deployment import eventually, text_to_image
from worker.poll_timing import (
    FIRST_POLL_SECONDS,
    WINDOW_LENGTH,
    CompletionTime,
    PollObservation,
    PollPlanner,
    SuccessTiming,
    TaskKind,
)
from worker.poll_timing.completion_times import CompletionTimes

URL = "https://example.com/1.png"
KIND = TaskKind("gpt-4o-image", "text-to-image", 1)
FOUR = TaskKind("gpt-4o-image", "text-to-image", 4)
LARGE = TaskKind("gpt-image-2", "text-to-image", 1, "4K")


class FailingQueries:
    """Queries that fail while the test sets it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        self.asked.append(query)
        if self.error is not None:
            raise self.error
        return await self._database.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None


def having_seen(kind: TaskKind, seconds: Iterable[float]) -> PollPlanner:
    timetable = PollPlanner()
    timetable.return_completions(CompletionTime(kind, one) for one in seconds)
    return timetable


async def stored(setup: WorkerSetup) -> list[dict[str, Any]]:
    return await setup.sql("SELECT * FROM completion_times ORDER BY id")


async def generating(setup: WorkerSetup, quantity: int = 1) -> Job:
    job = await setup.enqueue(text_to_image(quantity=quantity))
    setup.kie.submits.append(Accepted(f"task of {job.id}"))
    await setup.submit(job)
    return await setup.now_is(job)


async def submitted_ago(setup: WorkerSetup, job: Job, seconds: float) -> Job:
    """Let the job have been submitted so long ago, for Postgres as well."""
    await setup.sql(
        "UPDATE jobs SET submitted_at = now() - make_interval(secs => $2) WHERE id = $1",
        job.id,
        seconds,
    )
    return await setup.now_is(job)


# --- what the poll step teaches ---------------------------------------------------------------


async def test_a_success_records_how_long_the_task_took_by_kies_clock(
    setup: WorkerSetup,
) -> None:
    job = await submitted_ago(setup, await generating(setup, quantity=4), 40)
    assert job.submitted_at is not None
    setup.kie.polls.append(Delivered((URL,) * 4, job.submitted_at + timedelta(seconds=33)))
    await setup.poll(job)
    assert setup.deps.poll_state.planner.take_new_completions() == [CompletionTime(FOUR, 33.0)]


async def test_an_end_without_a_time_is_placed_between_the_last_two_polls(
    setup: WorkerSetup,
) -> None:
    job = await generating(setup)
    setup.clock.advance(30)
    setup.kie.polls += [Pending(0), Delivered((URL,))]
    await setup.poll(job)
    await submitted_ago(setup, job, 40)
    await setup.poll(job)
    (completion,) = setup.deps.poll_state.planner.take_new_completions()
    assert 30 <= completion.seconds <= 42


async def test_an_end_without_a_time_from_a_callback_ended_just_now(
    setup: WorkerSetup,
) -> None:
    setup = setup.with_settings(kie_callback_url="https://darkroom.example")
    job = await submitted_ago(setup, await generating(setup), 40)
    await setup.sql(
        "INSERT INTO callback_inbox (token, provider_task_id)"
        " SELECT token, provider_task_id FROM job_attempts WHERE job_id = $1",
        job.id,
    )
    setup.kie.polls.append(Delivered((URL,)))
    await setup.poll(job)
    (completion,) = setup.deps.poll_state.planner.take_new_completions()
    assert completion.seconds == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("kie_outcome", "late_seconds"),
    [(TaskFailed(Reason.PROVIDER_FAILED, "no"), 0.0), (Pending(0.5), 1_801.0)],
    ids=["failure", "deadline"],
)
async def test_ends_without_images_teach_nothing(
    setup: WorkerSetup, kie_outcome: PollOutcome, late_seconds: float
) -> None:
    job = await generating(setup)
    setup.kie.polls += [Pending(0), kie_outcome]
    await setup.poll(job)
    await setup.let_pass(late_seconds)
    assert await setup.poll(job) is None
    assert setup.deps.poll_state.planner.take_new_completions() == []


async def test_a_poll_follows_the_plan_of_its_kind(setup: WorkerSetup) -> None:
    timetable = setup.deps.poll_state.planner
    await CompletionTimes(setup.database, having_seen(KIND, [60.0] * 200)).exchange_times()
    await CompletionTimes(setup.database, timetable).exchange_times()
    planned, unknown = await generating(setup), await generating(setup, quantity=4)
    setup.clock.advance(20)
    setup.kie.polls += [Pending(0)] * 2
    assert await setup.poll(planned) == pytest.approx(40, abs=1.5)
    assert await setup.poll(unknown) == pytest.approx(2.4, abs=0.1)


# --- sharing ----------------------------------------------------------------------------------


async def test_what_one_worker_saw_another_plans_by(setup: WorkerSetup) -> None:
    one, other = having_seen(KIND, [40.0] * 200), having_seen(FOUR, [60.0] * 200)
    await CompletionTimes(setup.database, one).exchange_times()
    await CompletionTimes(setup.database, other).exchange_times()
    assert one.first_poll_delay_seconds(FOUR) == FIRST_POLL_SECONDS
    assert other.first_poll_delay_seconds(KIND) > 30
    await CompletionTimes(setup.database, one).exchange_times()
    assert one.first_poll_delay_seconds(FOUR) > 40
    assert len(await stored(setup)) == 400


async def test_each_kind_keeps_so_many_completions_and_the_old_ones_fade(
    setup: WorkerSetup,
) -> None:
    for _ in range(4):
        await CompletionTimes(setup.database, having_seen(KIND, [20.0] * 200)).exchange_times()
    await setup.sql("UPDATE completion_times SET keep_rank = keep_rank - 30")  # an hour ago
    newest = [float(second) for second in range(1, 101)]
    await CompletionTimes(setup.database, having_seen(KIND, newest)).exchange_times()
    await CompletionTimes(setup.database, having_seen(FOUR, [90.0])).exchange_times()
    rows = await stored(setup)
    of_kind = [row["seconds"] for row in rows if row["quantity"] == 1]
    assert len(of_kind) == WINDOW_LENGTH
    assert of_kind[-100:] == newest
    assert [row["seconds"] for row in rows if row["quantity"] == 4] == [90.0]


async def test_completions_are_recorded_soon_where_postgres_believes_that_there_are_none(
    setup: WorkerSetup,
) -> None:
    for _ in range(3):
        await CompletionTimes(setup.database, having_seen(KIND, [20.0] * 300)).exchange_times()
    await setup.sql("DELETE FROM completion_times")
    await setup.sql("VACUUM (ANALYZE, TRUNCATE false) completion_times")
    # A plan that compares each row with each takes minutes for these, and may take 10 s.
    for _ in range(6):
        await CompletionTimes(setup.database, having_seen(KIND, [20.0] * 500)).exchange_times()
    await CompletionTimes(setup.database, having_seen(FOUR, [90.0])).exchange_times()
    assert len(await stored(setup)) == WINDOW_LENGTH + 1


async def test_a_burst_is_learned_from_as_a_whole_not_from_its_slow_end(setup: WorkerSetup) -> None:
    # Tasks that begin together end in the order of how long they take.
    for start in range(0, 3_000, 500):
        ended = [float(second) for second in range(start + 1, start + 501)]
        await CompletionTimes(setup.database, having_seen(KIND, ended)).exchange_times()
    await CompletionTimes(setup.database, having_seen(FOUR, [90.0])).exchange_times()
    kept = sorted(row["seconds"] for row in await stored(setup) if row["quantity"] == 1)
    assert len(kept) == WINDOW_LENGTH
    # Six standard deviations of the median of 300 drawn from 3,000.
    assert abs(kept[WINDOW_LENGTH // 2] - 1_500) < 520


async def test_workers_that_share_at_once_do_not_block_each_other(setup: WorkerSetup) -> None:
    async def one_worker() -> None:
        for _ in range(5):
            await CompletionTimes(setup.database, having_seen(KIND, [20.0] * 150)).exchange_times()

    await asyncio.gather(*(one_worker() for _ in range(6)))
    await CompletionTimes(setup.database, having_seen(KIND, [21.0])).exchange_times()
    assert len(await stored(setup)) <= WINDOW_LENGTH + 1


async def test_variants_of_a_model_are_learned_apart(setup: WorkerSetup) -> None:
    small = LARGE._replace(variant="1K")
    planner = having_seen(LARGE, [90.0] * 50)
    planner.return_completions(CompletionTime(small, 20.0) for _ in range(50))
    await CompletionTimes(setup.database, planner).exchange_times()
    other = PollPlanner()
    await CompletionTimes(setup.database, other).exchange_times()
    assert other.first_poll_delay_seconds(small) < 25
    assert other.first_poll_delay_seconds(LARGE) > 40
    job = replace(await setup.enqueue(), variant="4K")
    assert TaskKind.of(job) == TaskKind.of(job)._replace(variant="4K")


async def test_an_emptied_table_is_refilled_and_plans_stay(setup: WorkerSetup) -> None:
    timetable = having_seen(KIND, [40.0] * 50)
    times = CompletionTimes(setup.database, timetable)
    await times.exchange_times()
    await setup.sql("DELETE FROM completion_times")
    await times.exchange_times()
    assert timetable.first_poll_delay_seconds(KIND) > 30
    timetable.return_completions([CompletionTime(KIND, 41.0)])
    await times.exchange_times()
    assert len(await stored(setup)) == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "'NaN'", "'Infinity'"])
async def test_no_row_can_hold_what_no_task_can_have_taken(
    setup: WorkerSetup, seconds: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="seconds_must_be_above_zero"):
        await setup.sql(
            "INSERT INTO completion_times (model, task, quantity, seconds)"
            f" VALUES ('gpt-4o-image', 'text-to-image', 1, {seconds})"
        )


# --- in the background ------------------------------------------------------------------------


async def test_a_worker_shares_by_itself_and_writes_down_the_rest_when_it_stops(
    setup: WorkerSetup,
) -> None:
    await CompletionTimes(setup.database, having_seen(KIND, [40.0] * 50)).exchange_times()
    timetable = PollPlanner()

    async def has_learned() -> bool:
        return timetable.first_poll_delay_seconds(KIND) > FIRST_POLL_SECONDS

    async with CompletionTimes(setup.database, timetable, interval_seconds=0.01):
        await eventually(has_learned, "the worker knows what others saw")
        timetable.record_success((await setup.enqueue()).id, FOUR, SuccessTiming(91.0, 90.0))
    assert [row["seconds"] for row in await stored(setup)][50:] == [90.0]


async def test_an_idle_worker_sends_no_query(setup: WorkerSetup) -> None:
    shaky, timetable = FailingQueries(setup.database), PollPlanner()

    async def has_asked_twice() -> bool:
        return len(shaky.asked) == 2

    async with CompletionTimes(shaky, timetable, interval_seconds=0.01):
        timetable.record_pending((await setup.enqueue()).id, PollObservation(1, 0))
        await eventually(has_asked_twice, "once at its start, once when it was used")
        await asyncio.sleep(0.1)  # ten intervals in which nothing may be asked
    assert shaky.asked == ["read_completion_times"] * 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PostgresDown("a drill"), "dependency_down"),
        (DatabaseRefused("no", sqlstate="42501"), "completion_times_failed"),
        (RuntimeError("a bug"), "completion_times_failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_after_any_failure_sharing_continues_and_no_observation_is_lost(
    setup: WorkerSetup, error: Exception, said: str
) -> None:
    shaky, timetable = FailingQueries(setup.database), having_seen(KIND, [40.0] * 50)
    shaky.error = error

    async def has_tried() -> bool:
        timetable.first_poll_delay_seconds(KIND)  # in use
        return len(shaky.asked) >= 3

    async def is_stored() -> bool:
        timetable.first_poll_delay_seconds(KIND)
        return len(await stored(setup)) == 50

    with structlog.testing.capture_logs() as logs:
        async with CompletionTimes(shaky, timetable, interval_seconds=0.01):
            await eventually(has_tried, "it tries again")
            shaky.error = None
            await eventually(is_stored, "what was seen is written down")
    assert {log["event"] for log in logs} == {said}
    assert logs
