"""The clock as an argument: what decides by time is told the time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time. The real one is `shared.adapters.clock.SystemClock`."""

    def now(self) -> datetime:
        """Return the current moment, timezone-aware, in UTC."""
        ...
