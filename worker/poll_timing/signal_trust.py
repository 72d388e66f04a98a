"""Whether Kie's progress tells when a task will end: believed only after it has proved it."""

from __future__ import annotations

from .next_poll import PollObservation

_MEMORY = 0.05
_PROVED_AFTER = 20
_PROVED_BELOW = 0.15
_WORST = 2.0


class ProgressAccuracy:
    """Experience with the progress of one kind of task."""

    def __init__(self) -> None:
        self._error = 0.0
        self._ends = 0

    def record(self, last: PollObservation, seconds: float) -> None:
        """Note an end after so many seconds, and what was seen last before it."""
        if not 0 < last.progress < 1:
            return
        predicted = last.elapsed_seconds / last.progress
        left = max(predicted - last.elapsed_seconds, 1.0)
        self._ends += 1
        error = min(abs(seconds - predicted) / left, _WORST)
        self._error += max(_MEMORY, 1 / self._ends) * (error - self._error)

    @property
    def error(self) -> float | None:
        """By which share of what remained progress missed the end; None while it is unproved."""
        proved = self._ends >= _PROVED_AFTER and self._error <= _PROVED_BELOW
        return self._error if proved else None
