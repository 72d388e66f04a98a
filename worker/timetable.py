"""When to ask about a task next: pure, from what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_LOOK_SECONDS = 2.0
"""Kie's fastest images take longer than this."""
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 15.0
_SHARE_OF_ELAPSED = 0.12
_SHARE_OF_REMAINING = 0.5
_LEAST_SHARE_OF_GAP = 0.25
LAST_LOOK_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the last answer said about a task."""

    elapsed_seconds: float
    """Since Kie gave the task id."""
    progress: float
    """0 to 1, as Kie reports it."""


def seconds_until_next_poll(
    sighting: Sighting, seconds_to_deadline: float, stretch: float = 1.0
) -> float:
    """Return how long to wait before asking again; `stretch` is at least 1.

    The gaps grow with the time that has passed, so the lag stays a fixed share of the whole.
    Progress only hastens: where Kie's own pace says that less is left, half of that is waited,
    but never less than a quarter of the gap, because progress may be stuck just short of the end.
    All of it is stretched while callbacks can be relied on. Never past the deadline, which gets
    a look of its own.
    """
    if sighting.elapsed_seconds < FIRST_LOOK_SECONDS:
        delay = FIRST_LOOK_SECONDS - sighting.elapsed_seconds
        return min(max(delay, 0.0), max(seconds_to_deadline, 0.0))
    gap = sighting.elapsed_seconds * _SHARE_OF_ELAPSED
    gap = delay = min(max(gap, SHORTEST_SECONDS), LONGEST_SECONDS)
    if 0 < sighting.progress < 1:
        whole = sighting.elapsed_seconds / sighting.progress
        left = (whole - sighting.elapsed_seconds) * _SHARE_OF_REMAINING
        delay = min(max(left, gap * _LEAST_SHARE_OF_GAP, SHORTEST_SECONDS), gap)
    if seconds_to_deadline <= 0:
        return LAST_LOOK_RETRY_SECONDS
    return min(delay * stretch, max(seconds_to_deadline, 0.05))


def backoff_seconds(
    tries: int, jitter: float, *, first: float = 1.0, longest: float = 30.0
) -> float:
    """Return a doubling delay with jitter: `jitter` is 0 to 1, `tries` counts from 1."""
    whole = min(first * 2.0 ** min(max(tries - 1, 0), 16), longest)
    return whole * (0.5 + 0.5 * jitter)
