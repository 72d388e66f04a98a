"""Polls thin out while callbacks come, and tighten by themselves when they stop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.poll_timing import (
    LONGEST_GAP_SECONDS,
    SHORTEST_GAP_SECONDS,
    PollObservation,
    seconds_until_next_poll,
)
from worker.poll_timing.signal_trust import MAX_INTERVAL_FACTOR, CallbackTrust


def _after(*ends: bool) -> CallbackTrust:
    trust = CallbackTrust()
    for was_called_back in ends:
        trust.record(was_called_back)
    return trust


def test_callbacks_are_not_trusted_before_ten_ends() -> None:
    assert _after().interval_factor() == 1
    assert _after(*[True] * 9).interval_factor() == 1
    assert _after(*[True] * 10).interval_factor() == MAX_INTERVAL_FACTOR


def test_three_missing_callbacks_in_a_row_end_the_trust() -> None:
    assert _after(*[True] * 50, False).interval_factor() < MAX_INTERVAL_FACTOR
    assert _after(*[True] * 50, False, False, False).interval_factor() == 1


def test_trust_comes_back_with_the_callbacks() -> None:
    assert _after(*[True] * 50, *[False] * 5, *[True] * 30).interval_factor() > 3


def test_callbacks_that_come_half_of_the_time_are_not_relied_on() -> None:
    assert _after(*[True, False] * 40).interval_factor() == 1


@given(st.lists(st.booleans(), max_size=100))
def test_the_stretch_keeps_its_bounds(ends: list[bool]) -> None:
    assert 1 <= _after(*ends).interval_factor() <= MAX_INTERVAL_FACTOR


@given(
    st.floats(2, 1_000), st.floats(0, 1), st.floats(1, MAX_INTERVAL_FACTOR), st.floats(0.1, 5_000)
)
def test_a_stretched_gap_is_never_shorter_and_never_passes_the_deadline(
    elapsed: float, progress: float, interval_factor: float, left: float
) -> None:
    sighting = PollObservation(elapsed, progress)
    plain = seconds_until_next_poll(sighting, left)
    stretched = seconds_until_next_poll(sighting, left, interval_factor)
    assert plain <= stretched <= max(left, SHORTEST_GAP_SECONDS)
    assert stretched <= LONGEST_GAP_SECONDS * MAX_INTERVAL_FACTOR
