"""A smooth distribution of completion times, from the last few hundred."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import erf, log, pow, sqrt

_KNOTS_MAX = 48
_KNOTS_MIN = 8
_MARGIN = 0.02
_MARGIN_SECONDS = 0.1
_STEP_SECONDS = 0.001
_PRIOR_WEIGHT = 1.0
"""The weight of the prior, in completions."""
_PRIOR_SIGMA = 0.8
"""The sigma of the prior, a lognormal around the median."""
_TAIL_EXPONENT = 1.5
_MIN_RATIO = 1e-9


class Distribution:
    """The share of tasks that has ended after a number of seconds.

    Between quantiles of the completions it is linear: sharp peaks stay, and single values have
    little effect. A small part is a broad prior around the median, so that no time is impossible.
    Beyond the longest completion there is a heavy tail.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        """`seconds` are the completion times: at least one, all above 0."""
        self._seen = sorted(seconds)
        self.count = len(self._seen)
        self.median = self.quantile(0.5)
        self._prior_weight = _PRIOR_WEIGHT / (self.count + _PRIOR_WEIGHT)
        self._at, self._share = self._knots()

    @property
    def shortest(self) -> float:
        """Where the first completion may have been."""
        return self._at[0]

    @property
    def longest(self) -> float:
        """Where the last completion was."""
        return self._at[-1]

    def quantile(self, share: float) -> float:
        """Return after how many seconds that share of the completions had ended."""
        position = share * (self.count - 1)
        below = int(position)
        above = min(below + 1, self.count - 1)
        return self._seen[below] + (self._seen[above] - self._seen[below]) * (position - below)

    def ended_by(self, seconds: float) -> float:
        """Return the share of tasks that has ended by then."""
        if seconds <= 0:
            return 0.0
        ratio = max(seconds / self.median, _MIN_RATIO)
        guess = 0.5 * (1.0 + erf(log(ratio) / (_PRIOR_SIGMA * sqrt(2.0))))
        return (1.0 - self._prior_weight) * self._seen_by(seconds) + self._prior_weight * guess

    def _seen_by(self, seconds: float) -> float:
        if seconds <= self.shortest:
            return 0.0
        if seconds >= self.longest:
            never_seen = 1.0 - self._share[-1]
            return 1.0 - never_seen * pow(self.longest / seconds, _TAIL_EXPONENT)
        above = bisect_right(self._at, seconds)
        left, right = self._at[above - 1], self._at[above]
        low, high = self._share[above - 1], self._share[above]
        return low + (high - low) * (seconds - left) / (right - left)

    def _knots(self) -> tuple[list[float], list[float]]:
        pieces = max(_KNOTS_MIN, min(_KNOTS_MAX, int(2 * sqrt(self.count))))
        shortest = self._seen[0]
        at = [max(shortest - max(_MARGIN_SECONDS, _MARGIN * shortest), 0.0)]
        shares = [0.0]
        for piece in range(pieces + 1):
            level = piece / pieces
            at.append(max(self.quantile(level), at[-1] + _STEP_SECONDS))
            shares.append((level * (self.count - 1) + 1) / (self.count + 1))
        return at, shares
