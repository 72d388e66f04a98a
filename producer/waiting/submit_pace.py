"""In how many seconds the job of a position is submitted, from the limits of the Kie accounts.

The times follow Kie's window: an account whose limit is used up has its next submit when the oldest
one of the window stops counting. After Kie was busy, the limit grows again with time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.job import WaitReason

WINDOW_SECONDS = 10.0
_LARGEST_LIMIT = 2_000
"""Submits of a window that are planned one by one. Beyond, they are evenly spaced."""
_SLOWER = 0.85
"""A measured rate below this share of what the limits allow is used instead."""


@dataclass(frozen=True, slots=True)
class KieAccountState:
    """What limits the submits of one Kie account, at one time."""

    limit: int
    """Submits per window as configured. 0: no limit."""
    counted_until: tuple[float, ...] = ()
    """In how many seconds each submit of the window stops counting. Sorted."""
    rate: float | None = None
    """Submits per window in force, after Kie was busy. None: the limit."""
    rate_limit: float = 0.0
    """Up to which the rate grows."""
    grows_in_seconds: float = 0.0
    """In how many seconds the rate begins to grow."""
    grows_per_second: float = 0.0
    paused_seconds: float = 0.0
    """For how long submits are paused. Infinite until a person ends it."""
    is_refused: bool = False
    """Whether Kie refuses the account: its key or its credits."""

    def limit_at(self, seconds: float) -> float:
        """Return the submits per window at that time from now; infinite without a limit."""
        limit = float(self.limit) if self.limit else math.inf
        if self.rate is None:
            return limit
        grown = self.rate + max(seconds - self.grows_in_seconds, 0.0) * self.grows_per_second
        return min(limit, max(grown, 1.0)) if grown < self.rate_limit else limit


@dataclass(frozen=True, slots=True)
class SubmitPace:
    """The times of the next submits over all Kie accounts."""

    first: tuple[float, ...] = ()
    """Of the submits until the limits are steady, sorted, in seconds from now."""
    steady: tuple[float, ...] = ()
    """Of those of the window after that. The same follow in each further window."""
    is_unlimited: bool = False
    """Whether nothing limits the submits of some Kie account."""
    starts_in_seconds: float = 0.0
    """For how long the submits of all accounts are paused."""
    measured_per_second: float | None = None
    """The submits per second of the last minutes, while jobs waited. None: not measured."""
    stopped: WaitReason | None = None
    """Why nothing is submitted."""

    @property
    def allowed_per_second(self) -> float:
        """What the limits allow once they are steady."""
        return math.inf if self.is_unlimited else len(self.steady) / WINDOW_SECONDS

    @property
    def per_second(self) -> float | None:
        """The expected submits per second; None without a limit and without a measurement."""
        if self.stopped is not None:
            return 0.0
        if self._is_slower:
            return self.measured_per_second
        return None if self.is_unlimited else self.allowed_per_second

    @property
    def _is_slower(self) -> bool:
        measured = self.measured_per_second
        return measured is not None and measured < _SLOWER * self.allowed_per_second

    def seconds_until(self, position: int) -> float | None:
        """Return in how many seconds the job of this position is submitted; None for never."""
        if self.stopped is not None:
            return None
        seconds = self._seconds_by_limits(position)
        if self._is_slower and self.measured_per_second:
            seconds = max(seconds, self.starts_in_seconds + position / self.measured_per_second)
        return seconds

    def _seconds_by_limits(self, position: int) -> float:
        if self.is_unlimited or position < 1:
            return self.starts_in_seconds
        if position <= len(self.first):
            return self.first[position - 1]
        windows, place = divmod(position - len(self.first) - 1, len(self.steady))
        return self.steady[place] + windows * WINDOW_SECONDS


def plan_pace(accounts: Sequence[KieAccountState], measured: float | None = None) -> SubmitPace:
    """Return the times of the next submits through these Kie accounts.

    `measured` is the rate per second of the last minutes if jobs waited all the time.
    """
    usable = [one for one in accounts if not one.is_refused and math.isfinite(one.paused_seconds)]
    if not usable:
        is_refused = any(one.is_refused for one in accounts)
        return SubmitPace(stopped="submits_refused" if is_refused else "paused")
    starts = min(one.paused_seconds for one in usable)
    if any(math.isinf(one.limit_at(one.paused_seconds)) for one in usable):
        return SubmitPace(is_unlimited=True, starts_in_seconds=starts, measured_per_second=measured)
    windows = max(_windows_until_steady(one) for one in usable)
    first: list[float] = []
    steady: list[float] = []
    for one in usable:
        for window in range(windows):
            first += _times_of_window(one, window)
        steady += _times_of_window(one, windows)
    return SubmitPace(
        first=tuple(sorted(first)),
        steady=tuple(sorted(steady)),
        starts_in_seconds=starts,
        measured_per_second=measured,
    )


def _windows_until_steady(account: KieAccountState) -> int:
    """Return after how many windows the limit does not grow any more."""
    if account.rate is None or account.grows_per_second <= 0:
        return 0
    missing = min(account.limit or math.inf, account.rate_limit) - account.rate
    seconds = account.grows_in_seconds + missing / account.grows_per_second
    return min(max(math.ceil((seconds - account.paused_seconds) / WINDOW_SECONDS), 0), 12)


def _times_of_window(account: KieAccountState, window: int) -> list[float]:
    """Return the times of the submits of one window, the first of which begins now."""
    begins = account.paused_seconds + window * WINDOW_SECONDS
    allowed = account.limit_at(begins)
    limit = max(int(min(allowed, account.rate_limit or allowed, _LARGEST_LIMIT * 1000)), 1)
    if limit > _LARGEST_LIMIT:
        return [begins + place * WINDOW_SECONDS / limit for place in range(limit)]
    # The submits of this window free their places again one window later.
    counted = account.counted_until[-limit:]
    times = [0.0] * (limit - len(counted)) + list(counted)
    return [max(time, account.paused_seconds) + window * WINDOW_SECONDS for time in times]
