"""Finds the highest rate that somebody carries, by going up and down around it: pure.

The method is the up-and-down one of Dixon and Mood (1948): after a rate that was carried comes a
higher one, after a rate that was not comes a lower one. The steps are of a factor of 1.3 until the
outcome changes for the first time, and of 1.1 from then on.

What a round says of the rate is the midpoint (geometric mean) of the rate that it tried and of the
rate that its outcome leads to. The rounds that only climb (or only descend) towards the limit say
nothing of where it is; those count that are left from the step on that the first change of outcome
ended, because that step is the first that is known to have the limit between its two rates. The
figure of a contestant is the median over the rounds that count. Where the outcome never changed,
only the last round counts, and what it says is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.figures import Spread, spread

COARSE_STEP = 1.3
FINE_STEP = 1.1
_BUSY_SHARE = 0.8


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


def guess_rate(cpu_ms_per_job: float) -> int:
    """Return the jobs per second at which jobs that cost so much keep 0.8 of a core busy."""
    return max(1, round(_BUSY_SHARE * 1000 / cpu_ms_per_job))


def next_rate(tried: Sequence[Tried]) -> int:
    """Return the rate to try after those, of which there is at least one."""
    step = COARSE_STEP if _first_change(tried) is None else FINE_STEP
    rate = tried[-1].rate
    if tried[-1].outcome is Outcome.CARRIED:
        return max(round(rate * step), rate + 1)
    return max(round(rate / step), 1)


def is_bracketed(tried: Sequence[Tried]) -> bool:
    """Tell whether the outcome has changed, so that the limit was seen from both sides."""
    return _first_change(tried) is not None


def estimates(tried: Sequence[Tried]) -> dict[int, float]:
    """Return what each round that counts says of the rate, in jobs/s, by its number from 0."""
    change = _first_change(tried)
    first = len(tried) - 1 if change is None else change - 1
    leads_to = [*(one.rate for one in tried[1:]), next_rate(tried)]
    return {
        number: math.sqrt(tried[number].rate * leads_to[number])
        for number in range(first, len(tried))
    }


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
