"""Delays that double from one try to the next, and returns that are spaced."""

from __future__ import annotations


def backoff_seconds(
    tries: int, jitter: float, *, first: float = 1.0, longest: float = 30.0
) -> float:
    """Return a delay that doubles with each try. `tries` counts from 1, `jitter` is 0 to 1."""
    whole = min(first * 2.0 ** min(max(tries - 1, 0), 16), longest)
    return whole * (0.5 + 0.5 * jitter)


def next_return_at(
    previous: float, *, earliest: float, spacing_seconds: float, latest: float
) -> float:
    """Return when the next of many waiting items may return, which is one spacing after `previous`.

    Without the spacing, thousands of items would return at the same time.
    """
    return min(max(previous, earliest) + spacing_seconds, latest)
