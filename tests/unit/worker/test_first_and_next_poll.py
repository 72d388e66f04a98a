"""Properties of the timetable: seldom, early, and never past the deadline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.backoff import backoff_seconds
from worker.poll_timing import (
    FIRST_POLL_SECONDS,
    LAST_POLL_RETRY_SECONDS,
    LONGEST_GAP_SECONDS,
    SHORTEST_GAP_SECONDS,
    PollObservation,
    PollPlan,
    seconds_until_next_poll,
)
from worker.poll_timing.first_and_next_poll import (
    LEAST_GAP_SECONDS,
    first_poll_delay_seconds,
    previous_poll_seconds,
)

ELAPSED = st.floats(0, 100_000)
PROGRESS = st.floats(0, 1)
LEFT = st.floats(-1_000, 100_000)
NO_DEADLINE = 1_000_000.0


@given(ELAPSED, PROGRESS, LEFT)
def test_the_delay_is_bounded(elapsed: float, progress: float, left: float) -> None:
    assert (
        0
        <= seconds_until_next_poll(PollObservation(elapsed, progress), left)
        <= LONGEST_GAP_SECONDS
    )


@given(st.floats(FIRST_POLL_SECONDS, 100_000), PROGRESS)
def test_after_the_first_poll_gaps_are_never_shorter_than_the_shortest(
    elapsed: float, progress: float
) -> None:
    delay = seconds_until_next_poll(PollObservation(elapsed, progress), NO_DEADLINE)
    assert SHORTEST_GAP_SECONDS <= delay <= LONGEST_GAP_SECONDS


@given(st.floats(0, FIRST_POLL_SECONDS, exclude_max=True), PROGRESS)
def test_the_first_poll_comes_when_kies_fastest_images_are_done(
    elapsed: float, progress: float
) -> None:
    delay = seconds_until_next_poll(PollObservation(elapsed, progress), NO_DEADLINE)
    assert elapsed + delay == pytest.approx(FIRST_POLL_SECONDS)


@given(ELAPSED, PROGRESS, st.floats(0.05, 100_000))
def test_no_poll_is_planned_after_the_deadline(
    elapsed: float, progress: float, left: float
) -> None:
    assert seconds_until_next_poll(PollObservation(elapsed, progress), left) <= left


@given(ELAPSED, ELAPSED)
def test_without_progress_the_gaps_grow_with_the_time_that_has_passed(
    one: float, other: float
) -> None:
    sooner, later = sorted((max(one, FIRST_POLL_SECONDS), max(other, FIRST_POLL_SECONDS)))
    gaps = [seconds_until_next_poll(PollObservation(at, 0), NO_DEADLINE) for at in (sooner, later)]
    assert gaps[0] <= gaps[1]


@given(st.floats(FIRST_POLL_SECONDS, 1_000), st.floats(0.01, 0.99))
def test_progress_hastens_to_half_of_what_remains_but_never_to_less_than_a_quarter_of_the_gap(
    elapsed: float, progress: float
) -> None:
    gap = seconds_until_next_poll(PollObservation(elapsed, 0), NO_DEADLINE)
    delay = seconds_until_next_poll(PollObservation(elapsed, progress), NO_DEADLINE)
    half_of_the_rest = (elapsed / progress - elapsed) / 2
    assert SHORTEST_GAP_SECONDS <= delay <= gap
    assert delay >= min(half_of_the_rest, gap) - 1e-9
    assert delay <= max(half_of_the_rest, gap / 2, SHORTEST_GAP_SECONDS)


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_progress_that_predicts_nothing_is_not_used(progress: float) -> None:
    assert seconds_until_next_poll(PollObservation(50, progress), NO_DEADLINE) == pytest.approx(6)


@given(st.floats(10, 1_800))
def test_a_whole_schedule_ends_with_a_poll_at_the_deadline_and_never_breaks_kies_limit(
    deadline: float,
) -> None:
    polls = [0.0]
    while polls[-1] < deadline - 0.05:
        delay = seconds_until_next_poll(PollObservation(polls[-1], 0), deadline - polls[-1])
        assert delay > 0
        polls.append(polls[-1] + delay)
    assert polls[-1] <= deadline + 1e-6
    assert max(sum(1 for at in polls if start <= at < start + 1) for start in polls) <= 3
    assert len(polls) < 40 + deadline / LONGEST_GAP_SECONDS


# --- with experience ------------------------------------------------------------------------

GAPS = st.lists(st.floats(LEAST_GAP_SECONDS, 30), min_size=1, max_size=30)
PLAN = PollPlan(poll_times=(18.0, 20.0, 23.0, 30.0))


def _poll_times(gaps: list[float]) -> tuple[float, ...]:
    return tuple(sum(gaps[: index + 1]) for index in range(len(gaps)))


def test_a_plan_has_the_time_of_the_first_poll() -> None:
    assert first_poll_delay_seconds() == FIRST_POLL_SECONDS
    assert first_poll_delay_seconds(PLAN) == 18
    assert seconds_until_next_poll(PollObservation(5, 0), NO_DEADLINE, 4.0, PLAN) == 13


@pytest.mark.parametrize(("elapsed", "delay"), [(18.1, 1.9), (19.8, 3.2), (20.1, 2.9), (29.5, 0.5)])
def test_the_next_poll_is_the_next_of_the_plan_that_is_not_too_close(
    elapsed: float, delay: float
) -> None:
    found = seconds_until_next_poll(PollObservation(elapsed, 0.5), NO_DEADLINE, known=PLAN)
    assert found == pytest.approx(delay)


@given(st.floats(30, 10_000))
def test_past_the_plan_the_rule_of_thumb_holds(elapsed: float) -> None:
    assert seconds_until_next_poll(PollObservation(elapsed, 0), NO_DEADLINE, known=PLAN) == (
        seconds_until_next_poll(PollObservation(elapsed, 0), NO_DEADLINE)
    )


@given(GAPS, ELAPSED, PROGRESS, st.one_of(st.none(), st.floats(0, 0.15)))
def test_with_any_plan_two_polls_are_never_too_close(
    gaps: list[float], elapsed: float, progress: float, error: float | None
) -> None:
    known = PollPlan(_poll_times(gaps), error)
    answered = max(elapsed, known.poll_times[0])
    delay = seconds_until_next_poll(PollObservation(answered, progress), NO_DEADLINE, known=known)
    assert delay >= LEAST_GAP_SECONDS - 1e-9


@given(GAPS, ELAPSED, PROGRESS, st.floats(0.05, 100_000), st.floats(1, 4))
def test_with_any_plan_no_poll_is_after_the_deadline(
    gaps: list[float], elapsed: float, progress: float, left: float, interval_factor: float
) -> None:
    known = PollPlan(_poll_times(gaps), 0.1)
    assert (
        seconds_until_next_poll(PollObservation(elapsed, progress), left, interval_factor, known)
        <= left
    )


@pytest.mark.parametrize("left", [0.0, -1.0])
def test_a_last_poll_is_repeated_whatever_the_plan_says(left: float) -> None:
    again = seconds_until_next_poll(PollObservation(19, 0), left, known=PLAN)
    assert again == LAST_POLL_RETRY_SECONDS


@given(st.floats(18, 1_000), PROGRESS)
def test_with_a_plan_progress_that_proved_nothing_moves_nothing(
    elapsed: float, progress: float
) -> None:
    told = seconds_until_next_poll(PollObservation(elapsed, progress), NO_DEADLINE, known=PLAN)
    untold = seconds_until_next_poll(PollObservation(elapsed, 0), NO_DEADLINE, known=PLAN)
    assert told == untold


def test_proved_progress_plans_the_poll_just_after_the_predicted_end() -> None:
    known = PollPlan(PLAN.poll_times, progress_error=0.05)
    assert seconds_until_next_poll(PollObservation(20, 0.5), NO_DEADLINE, known=known) == 20
    assert seconds_until_next_poll(
        PollObservation(20, 0.8), NO_DEADLINE, known=known
    ) == pytest.approx(5 * 1.05 + 0.3)


def test_proved_progress_that_is_stuck_before_the_end_does_not_cause_frequent_polls() -> None:
    known = PollPlan(PLAN.poll_times, progress_error=0.0)
    delay = seconds_until_next_poll(PollObservation(100, 0.999), NO_DEADLINE, known=known)
    assert delay == pytest.approx(LONGEST_GAP_SECONDS * 0.2)


@given(GAPS, st.floats(0, 2_000))
def test_the_poll_before_an_end_lies_before_it(gaps: list[float], found: float) -> None:
    for known in (PollPlan(), PollPlan(_poll_times(gaps))):
        assert 0 <= previous_poll_seconds(found, known) <= found


def test_the_poll_before_an_end_is_taken_from_the_plan() -> None:
    assert [previous_poll_seconds(found, PLAN) for found in (18.1, 20.1, 23.1, 30.1)] == [
        0,
        18,
        20,
        23,
    ]


# --- backoff --------------------------------------------------------------------------------


@given(st.integers(-5, 10_000), PROGRESS)
def test_backoff_is_bounded_and_jittered_downwards(tries: int, jitter: float) -> None:
    delay = backoff_seconds(tries, jitter)
    assert 0.5 <= delay <= 30
    assert backoff_seconds(tries, 0) <= delay <= backoff_seconds(tries, 1)


@given(st.integers(1, 100), PROGRESS)
def test_backoff_doubles_until_it_is_longest(tries: int, jitter: float) -> None:
    now, later = (backoff_seconds(n, jitter, first=0.2, longest=5) for n in (tries, tries + 1))
    assert later == pytest.approx(min(2 * now, 5 * (0.5 + 0.5 * jitter)))
