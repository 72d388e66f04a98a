"""Tells the time of a server, without asking it each time.

What is decided by moments that Postgres wrote is decided by Postgres's clock. This machine's own
may be wrong by an hour, and may be set while the process runs. So it is not read: between two
answers of the server, time passes by a monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isnan

from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


SKEW_LIMIT_SECONDS = 5.0
"""From this skew on it is reported. Jobs do not depend on it; the dates of log lines do."""
CLOCK_SKEW = "clock_skew"


def monotonic_seconds() -> float:
    """Return the seconds since some moment; never set, and counting while the machine sleeps."""
    if _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


def local_now() -> datetime:
    """Return the moment by this machine's own clock, which may be wrong; in UTC."""
    return datetime.now(UTC)


class ServerClock:
    """The clock of a server, as its answers tell it.

    Each answer says that the server's moment lies between the sending of the question and its
    arrival. The estimate is moved only as far as the newest answer demands, so that a slow answer
    makes it no worse, and a server whose clock was set is followed at the next answer.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = monotonic_seconds,
        local: Callable[[], datetime] = local_now,
    ) -> None:
        self._monotonic = monotonic
        self._local = local
        self._server_at_zero: datetime | None = None

    def observe(self, server_time: datetime, sent_at: float) -> None:
        """Take in an answer to a question that was sent at `sent_at`, by `monotonic`."""
        earliest = server_time - timedelta(seconds=self._monotonic())
        latest = server_time - timedelta(seconds=sent_at)
        known = self._server_at_zero
        if known is None:
            known = earliest + (latest - earliest) / 2
        self._server_at_zero = min(max(known, earliest), latest)

    @property
    def is_known(self) -> bool:
        """Whether the server has ever answered."""
        return self._server_at_zero is not None

    def now(self) -> datetime:
        """Return the server's moment, in UTC; this machine's own until the server has answered."""
        if self._server_at_zero is None:
            return self._local()
        return self._server_at_zero + timedelta(seconds=self._monotonic())

    def monotonic(self) -> float:
        """Return seconds that measure how long something takes; no date."""
        return self._monotonic()

    @property
    def skew_seconds(self) -> float:
        """This machine's clock minus the server's; NaN until the server has answered."""
        if self._server_at_zero is None:
            return float("nan")
        return (self._local() - self.now()) / timedelta(seconds=1)


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
