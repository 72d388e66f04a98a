"""Whether a signal of Kie may replace polls: the progress of a task, and its callback.

Both are believed only after they have proved right for a while, and no longer when they fail.
"""

from __future__ import annotations

from .first_and_next_poll import PollObservation

_PROGRESS_WEIGHT = 0.05
_PROGRESS_PROVED_AFTER = 20
_PROGRESS_PROVED_BELOW = 0.15
_WORST_ERROR = 2.0


class ProgressAccuracy:
    """How well Kie's progress has predicted the end of one kind of task."""

    def __init__(self) -> None:
        self._error = 0.0
        self._ends = 0

    def record(self, last: PollObservation, seconds: float) -> None:
        """Record an end after so many seconds, and what the last poll before it found."""
        if not 0 < last.progress < 1:
            return
        predicted = last.elapsed_seconds / last.progress
        left = max(predicted - last.elapsed_seconds, 1.0)
        self._ends += 1
        error = min(abs(seconds - predicted) / left, _WORST_ERROR)
        self._error += max(_PROGRESS_WEIGHT, 1 / self._ends) * (error - self._error)

    @property
    def error(self) -> float | None:
        """By what share of the remaining time progress missed the end; None while it is
        not proved.
        """
        proved = self._ends >= _PROGRESS_PROVED_AFTER and self._error <= _PROGRESS_PROVED_BELOW
        return self._error if proved else None


MAX_INTERVAL_FACTOR = 4.0
_CALLBACK_WEIGHT = 0.1
"""The weight of the newest end: about the last twenty count."""
_CALLBACKS_TRUSTED_FROM = 0.8
_CALLBACKS_PROVED_AFTER = 10


class CallbackTrust:
    """How reliable callbacks have been for one worker. It starts without any trust."""

    def __init__(self) -> None:
        self._share = 0.0
        self._ends = 0

    def record(self, had_callback: bool) -> None:
        """Record one end: whether a callback had come for it."""
        self._ends += 1
        # The first ends count equally, or the start would have too much weight.
        weight = max(_CALLBACK_WEIGHT, 1 / self._ends)
        self._share += weight * (float(had_callback) - self._share)

    def interval_factor(self) -> float:
        """Return the factor by which gaps between polls may be longer: 1 without trust,
        at most 4.
        """
        if self._ends < _CALLBACKS_PROVED_AFTER or self._share <= _CALLBACKS_TRUSTED_FROM:
            return 1.0
        return 1.0 + (MAX_INTERVAL_FACTOR - 1.0) * (self._share - _CALLBACKS_TRUSTED_FROM) / (
            1.0 - _CALLBACKS_TRUSTED_FROM
        )
