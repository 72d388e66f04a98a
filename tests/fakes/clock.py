"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """`shared.domain.clock.Clock` for tests: starts at the real time, because Postgres has its own.

    Give `start` for a moment of your own, timezone-aware.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)

    def now(self) -> datetime:
        """Return the moment to which the clock was moved last."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by that many seconds; a negative number turns the clock back."""
        self._now += timedelta(seconds=seconds)
