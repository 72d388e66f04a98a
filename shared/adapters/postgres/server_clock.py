"""Estimates the time of Postgres's clock, and reports a wrong clock of this machine.

Decisions about times that Postgres stored use Postgres's clock. This machine's clock may be wrong,
or may be set while the process runs, so it is not used. Between two replies of the server the
estimate advances by a monotonic clock.
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
"""A larger skew is reported. It affects the dates of log lines, but no job."""
CLOCK_SKEW = "clock_skew"


def monotonic_seconds() -> float:
    """Return monotonic seconds that also advance while the machine sleeps."""
    if _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


def local_now() -> datetime:
    """Return the time of this machine's clock, which may be wrong, in UTC."""
    return datetime.now(UTC)


class ServerClock:
    """An estimate of a server's clock from its replies.

    The time in a reply lies between the sending of the query and the arrival of the reply. Each
    reply moves the estimate only as far as these bounds require, so a slow reply does not make it
    worse, and a change of the server's clock is followed at the next reply.
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
        """Update the estimate from a reply to a query that was sent at `sent_at` of `monotonic`."""
        earliest = server_time - timedelta(seconds=self._monotonic())
        latest = server_time - timedelta(seconds=sent_at)
        known = self._server_at_zero
        if known is None:
            known = earliest + (latest - earliest) / 2
        self._server_at_zero = min(max(known, earliest), latest)

    @property
    def is_known(self) -> bool:
        """Whether the server has replied at least once."""
        return self._server_at_zero is not None

    def now(self) -> datetime:
        """Return the server's time in UTC. Before the first reply, return this machine's time."""
        if self._server_at_zero is None:
            return self._local()
        return self._server_at_zero + timedelta(seconds=self._monotonic())

    def monotonic(self) -> float:
        """Return monotonic seconds, to measure durations."""
        return self._monotonic()

    @property
    def skew_seconds(self) -> float:
        """This machine's clock minus the server's. NaN before the first reply."""
        if self._server_at_zero is None:
            return float("nan")
        return (self._local() - self.now()) / timedelta(seconds=1)


async def measure_clock(queries: Queries, clock: ServerClock) -> None:
    """Read Postgres's time into the clock. Raises `PostgresDown` or `DatabaseRefused`."""
    sent_at = clock.monotonic()
    (row,) = await queries.fetch("database_time")
    clock.observe(row["at"], sent_at)


def report_skew(skew_seconds: float) -> None:
    """Log one line when the skew exceeds the limit, and one when it is below again."""
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
