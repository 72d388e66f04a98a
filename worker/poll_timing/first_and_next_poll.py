"""Seconds until the next poll of a task, from the plan of its kind or a default rule."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

FIRST_POLL_SECONDS = 2.0
"""Kie's fastest images take longer than this."""
SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 15.0
LEAST_GAP_SECONDS = 0.35
"""No plan has shorter gaps. So no second has more than three polls."""
LAST_POLL_RETRY_SECONDS = 5.0
_SHARE_OF_ELAPSED = 0.12
_SHARE_OF_REMAINING = 0.5
_LEAST_SHARE_OF_GAP = 0.25
_PROGRESS_MARGIN_SECONDS = 0.3
_PROGRESS_LONGEST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class PollObservation:
    """What the last poll found about a task."""

    elapsed_seconds: float
    """Since Kie returned the task id."""
    progress: float
    """0 to 1, as Kie reports it."""


@dataclass(frozen=True, slots=True)
class PollPlan:
    """What is known about a kind of task. Without any knowledge the default rule applies."""

    poll_times: tuple[float, ...] = ()
    """When to poll, in seconds since the task id, ascending."""
    progress_error: float | None = None
    """By what share of the remaining time Kie's progress misses the end; None where that is not
    proved."""


_NOTHING = PollPlan()


def first_poll_delay_seconds(known: PollPlan = _NOTHING) -> float:
    """Return the seconds from the task id to the first poll."""
    return known.poll_times[0] if known.poll_times else FIRST_POLL_SECONDS


def seconds_until_next_poll(
    sighting: PollObservation,
    seconds_to_deadline: float,
    interval_factor: float = 1.0,
    known: PollPlan = _NOTHING,
) -> float:
    """Return the seconds until the next poll. `interval_factor` is at least 1.

    With a plan, it is the next poll of the plan. Without one, or past its end, the gaps grow with
    the elapsed time, so that the lag is a fixed share of the whole. Progress decides where it has
    proved to predict the end. Where there is neither a plan nor a proof, progress may shorten the
    gap to half of the time that it predicts, and to no less than a quarter of the gap, because it
    may stop short of the end. Every gap but the first is multiplied by `interval_factor`. No poll
    is later than the deadline, which has a poll of its own.
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
    """Return when the poll before the one that found the end was made; 0 where there was none."""
    if known.poll_times and observed_seconds <= known.poll_times[-1] + LONGEST_GAP_SECONDS:
        index = bisect_left(known.poll_times, observed_seconds - LEAST_GAP_SECONDS)
        return known.poll_times[index - 1] if index else 0.0
    if observed_seconds < FIRST_POLL_SECONDS + SHORTEST_GAP_SECONDS:
        return 0.0
    return max(observed_seconds - _default_gap_seconds(observed_seconds), 0.0)


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
