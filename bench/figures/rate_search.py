"""Finds the highest rate that somebody carries, by going up and down around it: pure.

The method is the up-and-down one of Dixon and Mood (1948): after a rate that was carried comes a
higher one, after a rate that was not comes a lower one.

- The steps are of a factor of 1.3 until the outcome changes for the first time. While it climbs, a
  rate that was carried leads to what the worker's share of a core lets one expect, if that is
  higher, though never to more than twice the rate: jobs cost less the more there are of them.
- The round that changes the outcome for the first time leads to the middle (geometric mean) of its
  rate and the one before, for the limit lies between the two. That middle is its estimate.
- From then on the steps are of a factor of 1.1, and the estimate of a round is the middle of the
  rate that it tried and of the rate that its outcome leads to.

The figure of a contestant is the median of these estimates. The rounds before say nothing of where
the limit is, and do not count. Where the outcome never changed, only the last round counts, by the
middle of its rate and the next, and what it says is a bound.
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
"""Less is not known so exactly, for the kernel counts in hundredths of a second."""


class Outcome(StrEnum):
    """What became of a rate that was tried."""

    CARRIED = "yes"
    NOT_CARRIED = "no"
    NOT_OFFERED = "placed late"
    """Whoever places the jobs fell behind, so that nothing is known of the worker."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One rate that was tried, in whole jobs per second."""

    rate: int
    outcome: Outcome
    guess: int = 0
    """The rate that one would guess by how busy the worker was."""


def guess_rate(rate: int, share: float, outcome: Outcome) -> int:
    """Return the jobs/s that take 0.8 of a core, where `rate` of them take that share of one.

    A worker that did not carry them was limited by something else, perhaps: less is guessed then.
    """
    most = math.inf if outcome is Outcome.CARRIED else rate / COARSE_STEP
    return max(1, round(min(rate * _BUSY_SHARE / max(share, _LEAST_SHARE), most)))


def next_rate(tried: Sequence[Tried]) -> int:
    """Return the rate to try after those, of which there is at least one."""
    change, last = _first_change(tried), tried[-1]
    if change == len(tried) - 1:
        return round(math.sqrt(tried[-2].rate * last.rate))
    step = COARSE_STEP if change is None else FINE_STEP
    if last.outcome is not Outcome.CARRIED:
        return max(round(last.rate / step), 1)
    higher = max(round(last.rate * step), last.rate + 1)
    return higher if change is not None else max(higher, min(last.guess, 2 * last.rate))


def is_bracketed(tried: Sequence[Tried]) -> bool:
    """Tell whether the outcome has changed, so that the limit was seen from both sides."""
    return _first_change(tried) is not None


def estimates(tried: Sequence[Tried]) -> dict[int, float]:
    """Return what each round that counts says of the rate, in jobs/s, by its number from 0."""
    change = _first_change(tried)
    first = len(tried) - 1 if change is None else change
    rates = [*(one.rate for one in tried), next_rate(tried)]
    found = {number: math.sqrt(rates[number] * rates[number + 1]) for number in range(len(tried))}
    if change is not None:
        found[change] = math.sqrt(rates[change - 1] * rates[change])
    return {number: found[number] for number in range(first, len(tried))}


def rate_of(tried: Sequence[Tried]) -> Spread:
    """Return the figure of a contestant, in jobs/s, over the rounds that count."""
    return spread(list(estimates(tried).values()))


def ratio_to_best(mine: Sequence[Tried], peers: Mapping[str, Sequence[Tried]]) -> Spread:
    """Return one contestant's rate in terms of the best peer's, round by round.

    Over the rounds that count for all of them; the last one always does.
    """
    ours = estimates(mine)
    theirs = [estimates(tried) for tried in peers.values()]
    numbers = [number for number in ours if all(number in one for one in theirs)]
    return spread([ours[number] / max(one[number] for one in theirs) for number in numbers])


def _first_change(tried: Sequence[Tried]) -> int | None:
    """Return the number of the first round that turned round: carried after not, or not after."""
    ups = [one.outcome is Outcome.CARRIED for one in tried]
    changes = (number for number in range(1, len(ups)) if ups[number] != ups[number - 1])
    return next(changes, None)
