"""Reads a snapshot of the queue in one query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.domain.alerts.alert_rules import RECENT_JOBS_SECONDS

LATE_SECONDS = 86_400.0
"""The period of `LateDeliveries`."""


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The queue at one time. Ended jobs and durations are those of the last five minutes."""

    queued: int
    submitting: int
    unknown: int
    generating: int
    oldest_waiting_seconds: float
    """How long the oldest due job has waited since it was due or accepted."""
    succeeded: int
    failed: int
    cancelled: int
    credits_charged: Decimal
    credits_held: Decimal
    wait_p50_seconds: float | None
    wait_p95_seconds: float | None
    run_p50_seconds: float | None
    run_p95_seconds: float | None

    @property
    def in_flight(self) -> int:
        """The number of jobs with a possible paid task at Kie."""
        return self.submitting + self.unknown + self.generating


@dataclass(frozen=True, slots=True)
class FailedJob:
    """One failed job."""

    id: UUID
    account_id: str
    finished_at: datetime
    reason: str
    message: str | None


@dataclass(frozen=True, slots=True)
class LateDeliveries:
    """What Kie delivered after the end of its job, within the last day."""

    tasks: int
    provider_credits: Decimal
    """What Kie charged us. No account of ours was charged."""


async def read_late_deliveries(queries: Queries) -> LateDeliveries:
    """Return the late deliveries of the last day. Raises `PostgresDown`."""
    row = await queries.fetch_row("late_deliveries", LATE_SECONDS)
    return LateDeliveries(**dict(row or {}))


async def read_snapshot(queries: Queries) -> QueueSnapshot:
    """Return the current snapshot. Raises `PostgresDown`."""
    row = await queries.fetch_row("queue_snapshot", RECENT_JOBS_SECONDS)
    return QueueSnapshot(**dict(row or {}))


async def read_failures(queries: Queries, most: int = 10) -> list[FailedJob]:
    """Return the newest failed jobs. Raises `PostgresDown`."""
    return [FailedJob(**dict(row)) for row in await queries.fetch("last_failures", most)]
