"""Whether a signal of Kie may replace polls: the progress of a task, and its callback.

Both are believed only after they have proved right for a while, and no longer when they fail.
"""

from __future__ import annotations

from .first_and_next_poll import PollObservation

_PROGRESS_WEIGHT = 0.05
_PROGRESS_PROVED_AFTER = 20
_PROGRESS_PROVED_BELOW = 0.15
_WORST_ERROR = 2.0


class _MovingAverage:
    """An average in which the newest values count most.

    The first values count equally, or the start would have too much weight.
    """

    def __init__(self, weight_of_newest: float) -> None:
        self._weight = weight_of_newest
        self.value = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += max(self._weight, 1 / self.count) * (value - self.value)


class ProgressAccuracy:
    """How well Kie's progress has predicted the end of one kind of task."""

    def __init__(self) -> None:
        self._error = _MovingAverage(_PROGRESS_WEIGHT)

    def record(self, last: PollObservation, seconds: float) -> None:
        """Record an end after so many seconds, and what the last poll before it found."""
        if not 0 < last.progress < 1:
            return
        predicted = last.elapsed_seconds / last.progress
        left = max(predicted - last.elapsed_seconds, 1.0)
        self._error.add(min(abs(seconds - predicted) / left, _WORST_ERROR))

    @property
    def error(self) -> float | None:
        """By what share of the remaining time progress missed the end; None while it is
        not proved.
        """
        error = self._error
        proved = error.count >= _PROGRESS_PROVED_AFTER and error.value <= _PROGRESS_PROVED_BELOW
        return error.value if proved else None


MAX_INTERVAL_FACTOR = 4.0
_CALLBACK_WEIGHT = 0.1
"""The weight of the newest end: about the last twenty count."""
_CALLBACKS_TRUSTED_FROM = 0.8
_CALLBACKS_PROVED_AFTER = 10


class CallbackTrust:
    """How reliable callbacks have been for one worker. It starts without any trust."""

    def __init__(self) -> None:
        self._share = _MovingAverage(_CALLBACK_WEIGHT)

    def record(self, had_callback: bool) -> None:
        """Record one end: whether a callback had come for it."""
        self._share.add(float(had_callback))

    def interval_factor(self) -> float:
        """Return the factor by which gaps between polls may be longer: 1 without trust,
        at most 4.
        """
        share = self._share.value
        if self._share.count < _CALLBACKS_PROVED_AFTER or share <= _CALLBACKS_TRUSTED_FROM:
            return 1.0
        return 1.0 + (MAX_INTERVAL_FACTOR - 1.0) * (share - _CALLBACKS_TRUSTED_FROM) / (
            1.0 - _CALLBACKS_TRUSTED_FROM
        )
