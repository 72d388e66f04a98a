"""Measures this machine's clock against Postgres's, and reports where they differ."""

from __future__ import annotations

from math import isnan

from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.server_clock import ServerClock

SKEW_LIMIT_SECONDS = 5.0
"""From this skew on it is reported. Jobs do not depend on it; the dates of log lines do."""
CLOCK_SKEW = "clock_skew"


async def measure_clock(queries: Queries, clock: ServerClock) -> None:
    """Ask Postgres for the time. Raises `PostgresDown` or `DatabaseRefused`."""
    sent_at = clock.monotonic()
    (row,) = await queries.fetch("database_time")
    clock.observe(row["at"], sent_at)


def report_skew(skew_seconds: float) -> None:
    """Log the skew when it passes the limit, and when it is below again: a line per change."""
    if isnan(skew_seconds):
        return
    if abs(skew_seconds) <= SKEW_LIMIT_SECONDS:
        incidents.record_success(CLOCK_SKEW, POSTGRES)
        return
    direction = "ahead of" if skew_seconds > 0 else "behind"
    incidents.record_failure(
        CLOCK_SKEW,
        POSTGRES,
        f"this machine's clock is {abs(skew_seconds):.0f} s {direction} Postgres's",
        fix="set it by NTP; no job is decided by it, but the dates of its log lines are wrong",
    )
