"""A clock that tests can move."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class FakeClock:
    """`worker.dependencies.Clock` for tests: the machine's clock, moved as far as a test likes.

    It goes on by itself, because what it is compared with is often the clock of Postgres.
    """

    def __init__(self) -> None:
        self._ahead = timedelta(0)
        self._waited_seconds = 0.0

    def now(self) -> datetime:
        """Return the machine's time plus all advances, in UTC."""
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        """Return seconds that grow by all that was advanced, and never shrink."""
        return time.monotonic() + self._waited_seconds

    def advance(self, seconds: float) -> None:
        """Move on by that many seconds; a negative number turns the clock back."""
        self._ahead += timedelta(seconds=seconds)
        self._waited_seconds += max(seconds, 0.0)

    def set_wrong(self, seconds: float) -> None:
        """Make the time wrong by that many more seconds. No time passes."""
        self._ahead += timedelta(seconds=seconds)
