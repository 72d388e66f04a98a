"""Completion times are learned by polls, shared by workers, limited in number, and required by no
step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
from tests.integration.worker.worker_setup import Rooms
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


class Shaky:
    """Queries that fail as long as a test likes."""

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


async def stored(rooms: Rooms) -> list[dict[str, Any]]:
    return await rooms.sql("SELECT * FROM completion_times ORDER BY id")


async def generating(rooms: Rooms, quantity: int = 1) -> Job:
    job = await rooms.enqueue(text_to_image(quantity=quantity))
    rooms.kie.submits.append(Accepted(f"task of {job.id}"))
    await rooms.submit(job)
    return await rooms.now_is(job)


async def submitted_ago(rooms: Rooms, job: Job, seconds: float) -> Job:
    """Let the job have been submitted so long ago, for Postgres as well."""
    await rooms.sql(
        "UPDATE jobs SET submitted_at = now() - make_interval(secs => $2) WHERE id = $1",
        job.id,
        seconds,
    )
    return await rooms.now_is(job)


# --- what the poll step teaches ---------------------------------------------------------------


async def test_a_success_teaches_how_long_the_task_took_by_kies_own_clock(rooms: Rooms) -> None:
    job = await submitted_ago(rooms, await generating(rooms, quantity=4), 40)
    assert job.submitted_at is not None
    rooms.kie.polls.append(Delivered((URL,) * 4, job.submitted_at + timedelta(seconds=33)))
    await rooms.poll(job)
    assert rooms.deps.poll_state.planner.take_new_completions() == [CompletionTime(FOUR, 33.0)]


async def test_an_end_without_a_date_is_put_between_the_last_two_looks(rooms: Rooms) -> None:
    job = await generating(rooms)
    rooms.clock.advance(30)
    rooms.kie.polls += [Pending(0), Delivered((URL,))]
    await rooms.poll(job)
    await submitted_ago(rooms, job, 40)
    await rooms.poll(job)
    (completion,) = rooms.deps.poll_state.planner.take_new_completions()
    assert 30 <= completion.seconds <= 42


async def test_an_end_without_a_date_that_was_called_back_ended_just_now(rooms: Rooms) -> None:
    rooms = rooms.with_settings(kie_callback_url="https://darkroom.example")
    job = await submitted_ago(rooms, await generating(rooms), 40)
    await rooms.sql(
        "INSERT INTO callback_inbox (token, provider_task_id)"
        " SELECT token, provider_task_id FROM job_attempts WHERE job_id = $1",
        job.id,
    )
    rooms.kie.polls.append(Delivered((URL,)))
    await rooms.poll(job)
    (completion,) = rooms.deps.poll_state.planner.take_new_completions()
    assert completion.seconds == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("verdict", "late_seconds"),
    [(TaskFailed(Reason.PROVIDER_FAILED, "no"), 0.0), (Pending(0.5), 1_801.0)],
    ids=["failure", "deadline"],
)
async def test_ends_without_images_teach_nothing(
    rooms: Rooms, verdict: PollOutcome, late_seconds: float
) -> None:
    job = await generating(rooms)
    rooms.kie.polls += [Pending(0), verdict]
    await rooms.poll(job)
    await rooms.let_pass(late_seconds)
    assert await rooms.poll(job) is None
    assert rooms.deps.poll_state.planner.take_new_completions() == []


async def test_a_poll_follows_the_plan_of_its_kind(rooms: Rooms) -> None:
    timetable = rooms.deps.poll_state.planner
    await CompletionTimes(rooms.database, having_seen(KIND, [60.0] * 200)).exchange_times()
    await CompletionTimes(rooms.database, timetable).exchange_times()
    planned, unknown = await generating(rooms), await generating(rooms, quantity=4)
    rooms.clock.advance(20)
    rooms.kie.polls += [Pending(0)] * 2
    assert await rooms.poll(planned) == pytest.approx(40, abs=1.5)
    assert await rooms.poll(unknown) == pytest.approx(2.4, abs=0.1)


# --- sharing ----------------------------------------------------------------------------------


async def test_what_one_worker_saw_another_plans_by(rooms: Rooms) -> None:
    one, other = having_seen(KIND, [40.0] * 200), having_seen(FOUR, [60.0] * 200)
    await CompletionTimes(rooms.database, one).exchange_times()
    await CompletionTimes(rooms.database, other).exchange_times()
    assert one.first_poll_delay_seconds(FOUR) == FIRST_POLL_SECONDS
    assert other.first_poll_delay_seconds(KIND) > 30
    await CompletionTimes(rooms.database, one).exchange_times()
    assert one.first_poll_delay_seconds(FOUR) > 40
    assert len(await stored(rooms)) == 400


async def test_each_kind_keeps_so_many_completions_and_the_old_ones_fade(rooms: Rooms) -> None:
    for _ in range(4):
        await CompletionTimes(rooms.database, having_seen(KIND, [20.0] * 200)).exchange_times()
    await rooms.sql("UPDATE completion_times SET keep_rank = keep_rank - 30")  # an hour ago
    newest = [float(second) for second in range(1, 101)]
    await CompletionTimes(rooms.database, having_seen(KIND, newest)).exchange_times()
    await CompletionTimes(rooms.database, having_seen(FOUR, [90.0])).exchange_times()
    rows = await stored(rooms)
    of_kind = [row["seconds"] for row in rows if row["quantity"] == 1]
    assert len(of_kind) == WINDOW_LENGTH
    assert of_kind[-100:] == newest
    assert [row["seconds"] for row in rows if row["quantity"] == 4] == [90.0]


async def test_a_burst_is_learned_from_as_a_whole_not_from_its_slow_end(rooms: Rooms) -> None:
    # Tasks that begin together end in the order of how long they take.
    for start in range(0, 3_000, 500):
        ended = [float(second) for second in range(start + 1, start + 501)]
        await CompletionTimes(rooms.database, having_seen(KIND, ended)).exchange_times()
    await CompletionTimes(rooms.database, having_seen(FOUR, [90.0])).exchange_times()
    kept = sorted(row["seconds"] for row in await stored(rooms) if row["quantity"] == 1)
    assert len(kept) == WINDOW_LENGTH
    # Six standard deviations of the median of 300 drawn from 3,000.
    assert abs(kept[WINDOW_LENGTH // 2] - 1_500) < 520


async def test_workers_that_share_at_once_do_not_hinder_each_other(rooms: Rooms) -> None:
    async def one_worker() -> None:
        for _ in range(5):
            await CompletionTimes(rooms.database, having_seen(KIND, [20.0] * 150)).exchange_times()

    await asyncio.gather(*(one_worker() for _ in range(6)))
    await CompletionTimes(rooms.database, having_seen(KIND, [21.0])).exchange_times()
    assert len(await stored(rooms)) <= WINDOW_LENGTH + 1


async def test_an_emptied_table_is_filled_again_and_plans_stay(rooms: Rooms) -> None:
    timetable = having_seen(KIND, [40.0] * 50)
    times = CompletionTimes(rooms.database, timetable)
    await times.exchange_times()
    await rooms.sql("DELETE FROM completion_times")
    await times.exchange_times()
    assert timetable.first_poll_delay_seconds(KIND) > 30
    timetable.return_completions([CompletionTime(KIND, 41.0)])
    await times.exchange_times()
    assert len(await stored(rooms)) == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "'NaN'", "'Infinity'"])
async def test_no_row_can_hold_what_no_task_can_have_taken(rooms: Rooms, seconds: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="seconds_must_be_above_zero"):
        await rooms.sql(
            "INSERT INTO completion_times (model, task, quantity, seconds)"
            f" VALUES ('gpt-4o-image', 'text-to-image', 1, {seconds})"
        )


# --- in the background ------------------------------------------------------------------------


async def test_a_worker_shares_by_itself_and_writes_down_the_rest_when_it_stops(
    rooms: Rooms,
) -> None:
    await CompletionTimes(rooms.database, having_seen(KIND, [40.0] * 50)).exchange_times()
    timetable = PollPlanner()

    async def has_learned() -> bool:
        return timetable.first_poll_delay_seconds(KIND) > FIRST_POLL_SECONDS

    async with CompletionTimes(rooms.database, timetable, interval_seconds=0.01):
        await eventually(has_learned, "the worker knows what others saw")
        timetable.record_success((await rooms.enqueue()).id, FOUR, SuccessTiming(91.0, 90.0))
    assert [row["seconds"] for row in await stored(rooms)][50:] == [90.0]


async def test_a_worker_at_rest_asks_nothing(rooms: Rooms) -> None:
    shaky, timetable = Shaky(rooms.database), PollPlanner()

    async def has_asked_twice() -> bool:
        return len(shaky.asked) == 2

    async with CompletionTimes(shaky, timetable, interval_seconds=0.01):
        timetable.record_pending((await rooms.enqueue()).id, PollObservation(1, 0))
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
async def test_whatever_goes_wrong_sharing_goes_on_and_nothing_seen_is_lost(
    rooms: Rooms, error: Exception, said: str
) -> None:
    shaky, timetable = Shaky(rooms.database), having_seen(KIND, [40.0] * 50)
    shaky.error = error

    async def has_tried() -> bool:
        timetable.first_poll_delay_seconds(KIND)  # in use
        return len(shaky.asked) >= 3

    async def is_stored() -> bool:
        timetable.first_poll_delay_seconds(KIND)
        return len(await stored(rooms)) == 50

    with structlog.testing.capture_logs() as logs:
        async with CompletionTimes(shaky, timetable, interval_seconds=0.01):
            await eventually(has_tried, "it tries again")
            shaky.error = None
            await eventually(is_stored, "what was seen is written down")
    assert {log["event"] for log in logs} == {said}
    assert logs
