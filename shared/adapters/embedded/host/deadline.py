"""A moment on the monotonic clock after which a wait is over."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """One deadline that several waits share, so that their sum keeps the promise."""

    at_seconds: float

    @classmethod
    def after(cls, timeout_seconds: float) -> Deadline:
        """Return the deadline that lies `timeout_seconds` from now."""
        return cls(time.monotonic() + timeout_seconds)

    @property
    def remaining_seconds(self) -> float:
        """Seconds left; never negative."""
        return max(0.0, self.at_seconds - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the moment has come."""
        return self.remaining_seconds <= 0.0
