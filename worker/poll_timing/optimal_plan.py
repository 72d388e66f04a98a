"""The cheapest set of poll times for a kind of task, from the durations of others of its kind.

A poll costs 1. Lag costs its square, so that long waits count for more: a lag of
`POLL_COST_IN_LAG_SECONDS` costs as much as one poll, twice that lag as much as four. Dynamic
programming finds the cheapest set out of two hundred candidates, from the last to the first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .completion_distribution import Distribution
from .first_and_next_poll import LEAST_GAP_SECONDS

POLL_COST_IN_LAG_SECONDS = 1.2
"""The trade-off between polls and lag; bench/timetable.py draws the curve."""
WINDOW_LENGTH = 300
"""How many completions of a kind count. Newer ones replace older ones."""
PLAN_FROM = 16
"""With fewer completions there is no plan."""
_CANDIDATES = 200
_BEYOND_LONGEST_FACTOR = 1.3
_LONGEST_SHARE_OF_ELAPSED = 0.25
_LONGEST_AT_LEAST_SECONDS = 3.0
_LONGEST_AT_MOST_SECONDS = 30.0
_JUST_AFTER_SECONDS = 0.1
"""A poll so long after a quantile finds the tasks that ended there."""


def plan_polls(
    seconds: Sequence[float], poll_cost_in_lag_seconds: float = POLL_COST_IN_LAG_SECONDS
) -> tuple[float, ...]:
    """Return the poll times, ascending; () where fewer than `PLAN_FROM` completions are known.

    Two polls are at least `LEAST_GAP_SECONDS` apart. After the first poll, a gap is at most a
    quarter of the elapsed time, within 3 to 30 seconds, so that a task that takes longer than any
    before is found too. Takes a few milliseconds.
    """
    if len(seconds) < PLAN_FROM:
        return ()
    grid = _CandidateTimes.over(Distribution(seconds), poll_cost_in_lag_seconds)
    following = _cheapest_next(grid)
    poll_times = []
    current = following[0]
    while current:
        poll_times.append(grid.at[current])
        current = following[current]
    return tuple(poll_times)


@dataclass(frozen=True, slots=True)
class _CandidateTimes:
    """The candidates. `moments` are running sums of share x seconds^k, for k = 0, 1, 2."""

    at: list[float]
    moments: tuple[list[float], list[float], list[float]]
    lag_price: float

    @classmethod
    def over(cls, distribution: Distribution, poll_cost_in_lag_seconds: float) -> _CandidateTimes:
        at = _candidate_times(distribution)
        ended = [distribution.ended_by(moment) for moment in at]
        first, second = [0.0], [0.0]
        for index in range(1, len(at)):
            share = ended[index] - ended[index - 1]
            left, right = at[index - 1], at[index]
            first.append(first[-1] + share * (left + right) / 2)
            second.append(second[-1] + share * (left * left + left * right + right * right) / 3)
        return cls(at, (ended, first, second), poll_cost_in_lag_seconds**-2)


def _candidate_times(distribution: Distribution) -> list[float]:
    """Return 0, then candidates: half at quantiles of the durations, half at equal ratios."""
    half = _CANDIDATES // 2
    earliest = max(LEAST_GAP_SECONDS, min(distribution.shortest, distribution.median * 0.3))
    # Every poll before the longest duration has a candidate that follows it.
    followed = distribution.longest + LEAST_GAP_SECONDS + _JUST_AFTER_SECONDS
    latest = max(distribution.longest * _BEYOND_LONGEST_FACTOR, followed, earliest + 1.0)
    ratio = (latest / earliest) ** (1 / (half - 1))
    moments = {round(earliest * ratio**index, 3) for index in range(half)}
    quantiles = (distribution.quantile((index + 0.5) / half) for index in range(half))
    moments |= {round(max(moment + _JUST_AFTER_SECONDS, earliest), 3) for moment in quantiles}
    return [0.0, *sorted(moments)]


def _cheapest_next(grid: _CandidateTimes) -> list[int]:
    """Return for each candidate the index of the poll that best follows it; 0: none."""
    at, ended = grid.at, grid.moments[0]
    last = len(at) - 1
    cost = [0.0] * (last + 1)
    following = [0] * (last + 1)
    for current in range(last - 1, -1, -1):
        from_index, to_index = _reach(at, current)
        if from_index > last:
            continue
        alive = 1.0 - ended[current]
        options = [
            (_lag_cost(grid, current, next_index) + cost[next_index], next_index)
            for next_index in range(from_index, to_index)
        ]
        least, following[current] = min(options)
        cost[current] = alive + least
    return following


def _reach(at: list[float], current: int) -> tuple[int, int]:
    from_index = bisect_left(at, at[current] + LEAST_GAP_SECONDS)
    if current == 0:
        return from_index, len(at)
    longest = max(at[current] * _LONGEST_SHARE_OF_ELAPSED, _LONGEST_AT_LEAST_SECONDS)
    longest = min(longest, _LONGEST_AT_MOST_SECONDS)
    return from_index, max(bisect_right(at, at[current] + longest), from_index + 1)


def _lag_cost(grid: _CandidateTimes, current: int, next_index: int) -> float:
    """Return the squared lag of the tasks that end between two polls and are found at the
    second.
    """
    found_at = grid.at[next_index]
    zeroth, first, second = grid.moments
    share = zeroth[next_index] - zeroth[current]
    squares = (
        found_at * found_at * share
        - 2 * found_at * (first[next_index] - first[current])
        + (second[next_index] - second[current])
    )
    return grid.lag_price * squares
