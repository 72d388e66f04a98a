"""What a worker learns from ends, and when it uses Kie's clock and progress."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.poll_timing import (
    FIRST_POLL_SECONDS,
    WINDOW_LENGTH,
    CompletionTime,
    PollObservation,
    PollPlanner,
    SuccessTiming,
    TaskKind,
)
from worker.poll_timing.signal_trust import ProgressAccuracy

KIND = TaskKind("gpt-4o-image", "text-to-image", 1)
OTHER = TaskKind("gpt-4o-image", "text-to-image", 4)
JOB = UUID(int=1)


def _learned(ending: SuccessTiming, *seen_at: float) -> float:
    """Return the learned duration of a task, after polls that found it generating."""
    planner = PollPlanner()
    for elapsed in seen_at:
        planner.record_pending(JOB, PollObservation(elapsed, 0))
    planner.record_success(JOB, KIND, ending)
    (completion,) = planner.take_new_completions()
    assert completion.kind == KIND
    return completion.seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(31.5, 31.5), (29.5, 30.0), (33.6, 33.0)],
    ids=["in between", "a little early", "a little late"],
)
def test_kies_completion_time_is_used_within_the_bounds_of_the_polls(
    said: float, seconds: float
) -> None:
    assert _learned(SuccessTiming(33, said), 28, 30) == seconds


@pytest.mark.parametrize("said", [None, 25.0, 40.0, -3600.0], ids=str)
def test_an_end_without_a_possible_time_is_placed_between_two_polls(
    said: float | None,
) -> None:
    assert _learned(SuccessTiming(34, said, position=0.25), 30) == 31


def test_an_end_found_by_the_first_poll_lies_between_the_start_and_that_poll() -> None:
    assert _learned(SuccessTiming(1.0, None, position=0.25)) == 0.25


def test_after_a_poll_of_another_worker_its_time_is_taken_from_the_timetable() -> None:
    assert _learned(SuccessTiming(25.0, None, position=0.0)) == 22.0
    assert _learned(SuccessTiming(25.0, 5.0)) == 5.0


@given(
    st.floats(0, 2_000),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.floats(0, 1),
    st.floats(0, 9),
)
def test_for_any_time_of_kie_a_completion_is_above_0_and_not_after_its_poll(
    found: float, said: float | None, somewhere: float, before: float
) -> None:
    seconds = _learned(SuccessTiming(found, said, somewhere), max(found - before, 0))
    assert 0 < seconds <= max(found, 0.01)


def test_plans_are_made_of_what_all_workers_saw_per_kind() -> None:
    planner = PollPlanner()
    assert planner.first_poll_delay_seconds(KIND) == FIRST_POLL_SECONDS
    assert planner.load_windows({KIND: [40.0] * 200, OTHER: [90.0] * 3}) == [KIND, OTHER]
    for kind in (KIND, OTHER):
        planner.replan(kind)
    assert 40 <= planner.first_poll_delay_seconds(KIND) < 40.5
    assert planner.first_poll_delay_seconds(OTHER) == FIRST_POLL_SECONDS


def test_a_kind_of_which_nothing_new_is_known_keeps_its_plan() -> None:
    planner = PollPlanner()
    planner.load_windows({KIND: [40.0] * 50})
    planner.replan(KIND)
    assert planner.load_windows({KIND: [40.0] * 50}) == []
    assert planner.load_windows({KIND: [40.0] * 51}) == [KIND]


def test_of_a_long_window_the_newest_count() -> None:
    planner = PollPlanner()
    planner.load_windows({KIND: [20.0] * WINDOW_LENGTH + [60.0] * WINDOW_LENGTH})
    planner.replan(KIND)
    assert planner.first_poll_delay_seconds(KIND) >= 60


def test_what_cannot_be_written_down_is_kept_but_not_without_end() -> None:
    planner = PollPlanner()
    planner.return_completions(CompletionTime(KIND, 1.0) for _ in range(100_000))
    planner.return_completions([CompletionTime(KIND, 2.0)])
    kept = planner.take_new_completions()
    assert kept[-1].seconds == 2
    assert len(kept) <= 10 * WINDOW_LENGTH
    assert planner.take_new_completions() == []


def test_sightings_of_jobs_that_others_finish_do_not_pile_up() -> None:
    planner = PollPlanner()
    for number in range(30_000):
        planner.record_pending(UUID(int=number), PollObservation(20, 0))
    for number in (0, 29_999):
        planner.record_success(UUID(int=number), KIND, SuccessTiming(30, None, position=0.0))
    forgotten, remembered = planner.take_new_completions()
    assert forgotten.seconds != 20
    assert remembered.seconds == 20


def test_a_forgotten_job_leaves_nothing_to_learn_from() -> None:
    planner = PollPlanner()
    planner.record_pending(JOB, PollObservation(2, 0))
    planner.forget(JOB)
    planner.record_success(JOB, KIND, SuccessTiming(25, None, position=0.0))
    assert planner.take_new_completions()[0].seconds > 20


def test_each_use_is_reported_once() -> None:
    planner = PollPlanner()
    assert not planner.take_used()
    planner.first_poll_delay_seconds(KIND)
    assert (planner.take_used(), planner.take_used()) == (True, False)


# --- progress -------------------------------------------------------------------------------


def test_progress_that_predicts_ends_is_used_after_twenty() -> None:
    pace = ProgressAccuracy()
    for ends in range(20):
        assert pace.error is None, f"believed after {ends}"
        pace.record(PollObservation(15.0, 0.5), 30.5)
    assert pace.error is not None
    assert pace.error < 0.1


def test_progress_that_stops_predicting_is_ignored_after_a_few_ends() -> None:
    pace = ProgressAccuracy()
    for _ in range(100):
        pace.record(PollObservation(15.0, 0.5), 30.0)
    for _ in range(4):
        pace.record(PollObservation(15.0, 0.5), 90.0)
    assert pace.error is None


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_progress_without_a_value_proves_nothing(progress: float) -> None:
    pace = ProgressAccuracy()
    for _ in range(50):
        pace.record(PollObservation(15.0, progress), 15.1)
    assert pace.error is None


def test_proved_progress_moves_the_next_poll() -> None:
    planner = PollPlanner()
    for number in range(30):
        planner.record_pending(UUID(int=number), PollObservation(10.0, 0.25))
        planner.record_success(UUID(int=number), KIND, SuccessTiming(40.5, 40.0))
    told = planner.seconds_until_next_poll(KIND, PollObservation(20.0, 0.5), 1_000)
    assert told == pytest.approx(20, abs=0.1)
    assert planner.seconds_until_next_poll(OTHER, PollObservation(20.0, 0.5), 1_000) < 3
