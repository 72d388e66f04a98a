"""What a worker learns from the ends it sees, and when it believes Kie's clock and progress."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.poll_timing import (
    FIRST_LOOK_SECONDS,
    WINDOW_LENGTH,
    Completion,
    Ending,
    Sighting,
    TaskKind,
    Timetable,
)
from worker.poll_timing.signal_trust import Pace

KIND = TaskKind("gpt-4o-image", "text-to-image", 1)
OTHER = TaskKind("gpt-4o-image", "text-to-image", 4)
JOB = UUID(int=1)


def _learned(ending: Ending, *seen_at: float) -> float:
    """Return how long the task is taken to have been, after looks that found it generating."""
    timetable = Timetable()
    for elapsed in seen_at:
        timetable.saw_pending(JOB, Sighting(elapsed, 0))
    timetable.saw_success(JOB, KIND, ending)
    (completion,) = timetable.take_fresh()
    assert completion.kind == KIND
    return completion.seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(31.5, 31.5), (29.5, 30.0), (33.6, 33.0)],
    ids=["in between", "a little early", "a little late"],
)
def test_kies_date_is_believed_within_what_the_looks_saw(said: float, seconds: float) -> None:
    assert _learned(Ending(33, said), 28, 30) == seconds


@pytest.mark.parametrize("said", [None, 25.0, 40.0, -3600.0], ids=str)
def test_an_end_that_is_not_dated_or_impossibly_is_put_between_two_looks(
    said: float | None,
) -> None:
    assert _learned(Ending(34, said, somewhere=0.25), 30) == 31


def test_an_end_that_the_first_look_found_lies_between_the_start_and_it() -> None:
    assert _learned(Ending(1.0, None, somewhere=0.25)) == 0.25


def test_where_another_worker_looked_before_its_look_is_taken_from_the_timetable() -> None:
    assert _learned(Ending(25.0, None, somewhere=0.0)) == 22.0
    assert _learned(Ending(25.0, 5.0)) == 5.0


@given(
    st.floats(0, 2_000),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.floats(0, 1),
    st.floats(0, 9),
)
def test_whatever_kie_says_a_completion_is_above_0_and_not_after_it_was_found(
    found: float, said: float | None, somewhere: float, before: float
) -> None:
    seconds = _learned(Ending(found, said, somewhere), max(found - before, 0))
    assert 0 < seconds <= max(found, 0.01)


def test_plans_are_made_of_what_all_workers_saw_per_kind() -> None:
    timetable = Timetable()
    assert timetable.first_look_seconds(KIND) == FIRST_LOOK_SECONDS
    assert timetable.adopt({KIND: [40.0] * 200, OTHER: [90.0] * 3}) == [KIND, OTHER]
    for kind in (KIND, OTHER):
        timetable.replan(kind)
    assert 40 <= timetable.first_look_seconds(KIND) < 40.5
    assert timetable.first_look_seconds(OTHER) == FIRST_LOOK_SECONDS


def test_a_kind_of_which_nothing_new_is_known_keeps_its_plan() -> None:
    timetable = Timetable()
    timetable.adopt({KIND: [40.0] * 50})
    timetable.replan(KIND)
    assert timetable.adopt({KIND: [40.0] * 50}) == []
    assert timetable.adopt({KIND: [40.0] * 51}) == [KIND]


def test_of_a_long_window_the_newest_count() -> None:
    timetable = Timetable()
    timetable.adopt({KIND: [20.0] * WINDOW_LENGTH + [60.0] * WINDOW_LENGTH})
    timetable.replan(KIND)
    assert timetable.first_look_seconds(KIND) >= 60


def test_what_cannot_be_written_down_is_kept_but_not_without_end() -> None:
    timetable = Timetable()
    timetable.put_back(Completion(KIND, 1.0) for _ in range(100_000))
    timetable.put_back([Completion(KIND, 2.0)])
    kept = timetable.take_fresh()
    assert kept[-1].seconds == 2
    assert len(kept) <= 10 * WINDOW_LENGTH
    assert timetable.take_fresh() == []


def test_sightings_of_jobs_that_others_finish_do_not_pile_up() -> None:
    timetable = Timetable()
    for number in range(30_000):
        timetable.saw_pending(UUID(int=number), Sighting(20, 0))
    for number in (0, 29_999):
        timetable.saw_success(UUID(int=number), KIND, Ending(30, None, somewhere=0.0))
    forgotten, remembered = timetable.take_fresh()
    assert forgotten.seconds != 20
    assert remembered.seconds == 20


def test_a_forgotten_job_leaves_nothing_to_learn_from() -> None:
    timetable = Timetable()
    timetable.saw_pending(JOB, Sighting(2, 0))
    timetable.forget(JOB)
    timetable.saw_success(JOB, KIND, Ending(25, None, somewhere=0.0))
    assert timetable.take_fresh()[0].seconds > 20


def test_use_is_told_once() -> None:
    timetable = Timetable()
    assert not timetable.take_use()
    timetable.first_look_seconds(KIND)
    assert (timetable.take_use(), timetable.take_use()) == (True, False)


# --- progress -------------------------------------------------------------------------------


def test_progress_that_foretells_ends_is_believed_after_twenty() -> None:
    pace = Pace()
    for ends in range(20):
        assert pace.error is None, f"believed after {ends}"
        pace.observe(Sighting(15.0, 0.5), 30.5)
    assert pace.error is not None
    assert pace.error < 0.1


def test_progress_that_stops_foretelling_loses_its_say_within_a_few_ends() -> None:
    pace = Pace()
    for _ in range(100):
        pace.observe(Sighting(15.0, 0.5), 30.0)
    for _ in range(4):
        pace.observe(Sighting(15.0, 0.5), 90.0)
    assert pace.error is None


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_progress_that_says_nothing_proves_nothing(progress: float) -> None:
    pace = Pace()
    for _ in range(50):
        pace.observe(Sighting(15.0, progress), 15.1)
    assert pace.error is None


def test_proved_progress_moves_the_next_look() -> None:
    timetable = Timetable()
    for number in range(30):
        timetable.saw_pending(UUID(int=number), Sighting(10.0, 0.25))
        timetable.saw_success(UUID(int=number), KIND, Ending(40.5, 40.0))
    told = timetable.seconds_until_next_poll(KIND, Sighting(20.0, 0.5), 1_000)
    assert told == pytest.approx(20, abs=0.1)
    assert timetable.seconds_until_next_poll(OTHER, Sighting(20.0, 0.5), 1_000) < 3
