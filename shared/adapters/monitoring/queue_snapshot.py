"""Reads the figures of the queue: what it is now, what ended lately and today, and Kie accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.adapters.postgres.database import Queries
from shared.domain.alerts.alert_rules import RECENT_JOBS_SECONDS


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The queue at one time.

    Accepted, submitted and ended jobs, durations and charged credits are those of the last five
    minutes.
    """

    queued: int
    scheduled: int
    """Those of `queued` whose `run_at` has not come. They do not wait."""
    paused: int
    """Those that wait and that a pause of an operator holds back."""
    submitting: int
    unknown: int
    generating: int
    held_for_review: int
    """Those of `generating` that are held as `result_unreadable`."""
    oldest_waiting_seconds: float
    """How long the oldest due job has waited since it was due or accepted. Paused jobs do not
    count."""
    accepted: int
    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    credits_held: Decimal
    credits_charged: Decimal
    wait_p50_seconds: float | None
    """From due or accepted to the task id, of the jobs that ended."""
    wait_p95_seconds: float | None
    run_p50_seconds: float | None
    """From the task id to the end."""
    run_p95_seconds: float | None
    lag_p50_seconds: float | None
    """From Kie's completion to the charge, of the jobs that succeeded."""
    lag_p95_seconds: float | None

    @property
    def waiting(self) -> int:
        """The number of queued jobs that wait to be submitted."""
        return self.queued - self.scheduled

    @property
    def in_flight(self) -> int:
        """The number of jobs with a possible paid task at Kie."""
        return self.submitting + self.unknown + self.generating


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What ended since the day began, in UTC."""

    begins: datetime
    succeeded: int
    failed: int
    cancelled: int
    credits_charged: Decimal


async def read_day_totals(queries: Queries) -> DayTotals:
    """Return the totals of this day. Raises `PostgresDown`."""
    row = await queries.fetch_row("day_totals")
    return DayTotals(**dict(row or {}))


async def read_snapshot(queries: Queries) -> QueueSnapshot:
    """Return the current snapshot. Raises `PostgresDown`."""
    row = await queries.fetch_row("queue_snapshot", RECENT_JOBS_SECONDS)
    return QueueSnapshot(**dict(row or {}))
