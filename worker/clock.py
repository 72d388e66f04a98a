"""The clock as an argument: what decides by time is told the time.

The worker's is Postgres's clock (`shared.adapters.postgres.server_clock`), because the moments that
it is compared with are Postgres's. How long something takes is measured by the monotonic one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the current moment by Postgres's clock, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, and that no setting of a clock changes."""
        ...
