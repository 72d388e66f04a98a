"""The clock as an argument: what decides by time is told the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the current moment, timezone-aware, in UTC."""
        ...


class SystemClock:
    """Tells the machine's time, in UTC."""

    def now(self) -> datetime:
        """Return the current moment, timezone-aware, in UTC."""
        return datetime.now(UTC)
