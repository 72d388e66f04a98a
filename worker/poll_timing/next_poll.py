"""The next look at one task: by the plan of its kind, or by rule of thumb where there is none."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

FIRST_POLL_SECONDS = 2.0
"""Kie's fastest images take longer than this."""
SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 15.0
LEAST_GAP_SECONDS = 0.35
"""No plan has shorter gaps: with them, three questions never fall into one second."""
LAST_POLL_RETRY_SECONDS = 5.0
_SHARE_OF_ELAPSED = 0.12
_SHARE_OF_REMAINING = 0.5
_LEAST_SHARE_OF_GAP = 0.25
_PROGRESS_MARGIN_SECONDS = 0.3
_PROGRESS_LONGEST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class PollObservation:
    """What the last answer said about a task."""

    elapsed_seconds: float
    """Since Kie gave the task id."""
    progress: float
    """0 to 1, as Kie reports it."""


@dataclass(frozen=True, slots=True)
class PollPlan:
    """What experience says about a kind of task; without any, rules of thumb hold."""

    poll_times: tuple[float, ...] = ()
    """When to look, in seconds since the task id was given; rising."""
    progress_error: float | None = None
    """How far Kie's progress misses the end, as a share of what remains; None: unproved."""


_NOTHING = PollPlan()


def first_poll_delay_seconds(known: PollPlan = _NOTHING) -> float:
    """Return how long after the task id to look for the first time."""
    return known.poll_times[0] if known.poll_times else FIRST_POLL_SECONDS


def seconds_until_next_poll(
    sighting: PollObservation,
    seconds_to_deadline: float,
    interval_factor: float = 1.0,
    known: PollPlan = _NOTHING,
) -> float:
    """Return how long to wait before asking again; `interval_factor` is at least 1.

    With a plan, its next look. Without one, or past its end, the gaps grow with the time that has
    passed, so the lag stays a fixed share of the whole. Progress counts in full where it has
    proved to tell the end; where there is neither plan nor proof it may hasten, to half of what it
    says is left, but never below a quarter of the gap, because it may be stuck short of the end.
    All but the first look is stretched while callbacks can be relied on. Never past the deadline,
    which gets a look of its own.
    """
    first_seconds = first_poll_delay_seconds(known)
    if sighting.elapsed_seconds < first_seconds:
        delay = first_seconds - sighting.elapsed_seconds
        return min(max(delay, 0.0), max(seconds_to_deadline, 0.0))
    if seconds_to_deadline <= 0:
        return LAST_POLL_RETRY_SECONDS
    delay = _gap_seconds(sighting.elapsed_seconds, known.poll_times)
    if 0 < sighting.progress < 1:
        delay = _delay_by_progress(sighting, delay, known)
    return min(delay * interval_factor, max(seconds_to_deadline, 0.05))


def previous_poll_seconds(observed_seconds: float, known: PollPlan = _NOTHING) -> float:
    """Return when the look before the one that found the end will have been; 0 where none."""
    if known.poll_times and observed_seconds <= known.poll_times[-1] + LONGEST_GAP_SECONDS:
        index = bisect_left(known.poll_times, observed_seconds - LEAST_GAP_SECONDS)
        return known.poll_times[index - 1] if index else 0.0
    if observed_seconds < FIRST_POLL_SECONDS + SHORTEST_GAP_SECONDS:
        return 0.0
    return max(observed_seconds - _default_gap_seconds(observed_seconds), 0.0)


def backoff_seconds(
    tries: int, jitter: float, *, first: float = 1.0, longest: float = 30.0
) -> float:
    """Return a doubling delay with jitter: `jitter` is 0 to 1, `tries` counts from 1."""
    whole = min(first * 2.0 ** min(max(tries - 1, 0), 16), longest)
    return whole * (0.5 + 0.5 * jitter)


def _gap_seconds(elapsed_seconds: float, poll_times: tuple[float, ...]) -> float:
    if poll_times and elapsed_seconds + LEAST_GAP_SECONDS <= poll_times[-1]:
        index = bisect_left(poll_times, elapsed_seconds + LEAST_GAP_SECONDS)
        return poll_times[index] - elapsed_seconds
    return _default_gap_seconds(elapsed_seconds)


def _default_gap_seconds(elapsed_seconds: float) -> float:
    return min(max(elapsed_seconds * _SHARE_OF_ELAPSED, SHORTEST_GAP_SECONDS), LONGEST_GAP_SECONDS)


def _delay_by_progress(sighting: PollObservation, gap: float, known: PollPlan) -> float:
    elapsed = sighting.elapsed_seconds
    left = elapsed / sighting.progress - elapsed
    if known.progress_error is not None:
        delay = left * (1.0 + known.progress_error) + _PROGRESS_MARGIN_SECONDS
        least = max(gap * _LEAST_SHARE_OF_GAP, LEAST_GAP_SECONDS)
        return min(max(delay, least), max(elapsed, _PROGRESS_LONGEST_SECONDS))
    if known.poll_times:
        return gap
    return min(
        max(left * _SHARE_OF_REMAINING, gap * _LEAST_SHARE_OF_GAP, SHORTEST_GAP_SECONDS), gap
    )
