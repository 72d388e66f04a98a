"""A point on the monotonic clock at which waits time out."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline that several waits share."""

    at_seconds: float

    @classmethod
    def after(cls, timeout_seconds: float) -> Deadline:
        """Return the deadline `timeout_seconds` from now."""
        return cls(time.monotonic() + timeout_seconds)

    @property
    def remaining_seconds(self) -> float:
        """The seconds left. Never negative."""
        return max(0.0, self.at_seconds - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.remaining_seconds <= 0.0
