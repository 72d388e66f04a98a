"""Finds the highest rate that a pipeline sustains, by the up-and-down method. Pure.

The method of Dixon and Mood (1948): a sustained rate is followed by a higher one, and another
rate by a lower one.

- Steps have a factor of 1.3 until the outcome changes for the first time. Meanwhile a sustained
  rate is followed by the rate that the worker's share of a core suggests, if that is higher, but by
  at most twice the rate.
- The round in which the outcome first changes is followed by the geometric mean of its rate and
  the one before, because the limit is between the two. This mean is its estimate.
- Later steps have a factor of 1.1. The estimate of a round is the geometric mean of its rate and
  the next one.

The figure of a pipeline is the median of these estimates. Earlier rounds do not count. If the
outcome never changes, only the last round counts, and its estimate is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.measurement.run_statistics import Spread, spread

COARSE_STEP = 1.3
FINE_STEP = 1.1
_BUSY_SHARE = 0.8
_LEAST_SHARE = 0.01
"""Smaller shares are inexact, because the kernel counts in hundredths of a second."""


class Outcome(StrEnum):
    """The outcome of a trial."""

    CARRIED = "yes"
    NOT_CARRIED = "no"
    NOT_OFFERED = "placed late"
    """Jobs were placed too late, so the trial says nothing about the worker."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial at a rate, in whole jobs per second."""

    rate: int
    outcome: Outcome
    guess: int = 0
    """The rate that the worker's share of a core suggests."""


def guess_rate(rate: int, share: float, outcome: Outcome) -> int:
    """Return the jobs/s that would take 0.8 of a core, if `rate` takes `share` of a core.

    The estimate is lower if the rate was not sustained, because another limit may apply.
    """
    most = math.inf if outcome is Outcome.CARRIED else rate / COARSE_STEP
    return max(1, round(min(rate * _BUSY_SHARE / max(share, _LEAST_SHARE), most)))


def next_rate(tried: Sequence[Tried]) -> int:
    """Return the rate to try after these trials, at least one."""
    change, last = _first_change(tried), tried[-1]
    if change == len(tried) - 1:
        return round(math.sqrt(tried[-2].rate * last.rate))
    step = COARSE_STEP if change is None else FINE_STEP
    if last.outcome is not Outcome.CARRIED:
        return max(round(last.rate / step), 1)
    higher = max(round(last.rate * step), last.rate + 1)
    return higher if change is not None else max(higher, min(last.guess, 2 * last.rate))


def is_bracketed(tried: Sequence[Tried]) -> bool:
    """Return whether the outcome has changed, so that the limit is between two trials."""
    return _first_change(tried) is not None


def estimates(tried: Sequence[Tried]) -> dict[int, float]:
    """Return the estimates of the rounds that count in jobs/s, by round number from 0."""
    change = _first_change(tried)
    first = len(tried) - 1 if change is None else change
    rates = [*(one.rate for one in tried), next_rate(tried)]
    found = {number: math.sqrt(rates[number] * rates[number + 1]) for number in range(len(tried))}
    if change is not None:
        found[change] = math.sqrt(rates[change - 1] * rates[change])
    return {number: found[number] for number in range(first, len(tried))}


def rate_of(tried: Sequence[Tried]) -> Spread:
    """Return the figure of a pipeline in jobs/s, over the rounds that count."""
    return spread(list(estimates(tried).values()))


def ratio_to_best(mine: Sequence[Tried], peers: Mapping[str, Sequence[Tried]]) -> Spread:
    """Return the ratio of a pipeline's rate to the best peer's, for each round.

    Uses the rounds that count for all of them. The last one always counts.
    """
    ours = estimates(mine)
    theirs = [estimates(tried) for tried in peers.values()]
    numbers = [number for number in ours if all(number in one for one in theirs)]
    return spread([ours[number] / max(one[number] for one in theirs) for number in numbers])


def _first_change(tried: Sequence[Tried]) -> int | None:
    """Return the number of the first round whose outcome differs from the one before."""
    ups = [one.outcome is Outcome.CARRIED for one in tried]
    changes = (number for number in range(1, len(ups)) if ups[number] != ups[number - 1])
    return next(changes, None)
