"""Sliding windows over arrivals: exact counts and the worst window ever seen."""

from __future__ import annotations

from collections import deque


class ArrivalWindow:
    """Counts arrivals and the most that ever fell into one half-open window of the span.

    Two arrivals exactly one span apart are not in the same window. Arrivals must be given in
    the order of time; each costs amortised constant work and memory of one window.
    """

    __slots__ = ("_recent", "span_seconds", "total", "worst")

    def __init__(self, span_seconds: float) -> None:
        self.span_seconds = span_seconds
        self.total = 0
        self.worst = 0
        # Most tasks of a callback-driven run are never polled, and an empty deque is not small.
        self._recent: deque[float] | None = None

    def arrive(self, at_seconds: float) -> int:
        """Count one arrival; return how many, this one included, the window now holds."""
        recent = self._recent
        if recent is None:
            recent = self._recent = deque()
        while recent and at_seconds - recent[0] >= self.span_seconds:
            recent.popleft()
        recent.append(at_seconds)
        self.total += 1
        count = len(recent)
        if count > self.worst:
            self.worst = count
        return count


class SlidingLimit:
    """Admits at most ``limit`` events in any sliding span; 0 admits everything."""

    __slots__ = ("_admitted", "limit", "span_seconds")

    def __init__(self, limit: int, span_seconds: float) -> None:
        self.limit = limit
        self.span_seconds = span_seconds
        self._admitted: deque[float] = deque()

    def admit(self, at_seconds: float) -> bool:
        """Tell whether an event at this time is within the limit; refused ones do not count."""
        if self.limit == 0:
            return True
        admitted = self._admitted
        while admitted and at_seconds - admitted[0] >= self.span_seconds:
            admitted.popleft()
        if len(admitted) >= self.limit:
            return False
        admitted.append(at_seconds)
        return True
