"""Reads the state of the queue: one query for the first screen, for scrapes and for waiting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.domain.alerts.alert_rules import RECENT_JOBS_SECONDS

LATE_SECONDS = 86_400.0
"""How far back late deliveries are summed."""


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The queue at one moment; `succeeded`, `failed` and times are of the last five minutes."""

    queued: int
    submitting: int
    unknown: int
    generating: int
    oldest_waiting_seconds: float
    """How long the oldest job waits that is due: since then, or since it was accepted."""
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
        """Jobs for which a paid task may exist at Kie."""
        return self.submitting + self.unknown + self.generating


@dataclass(frozen=True, slots=True)
class FailedJob:
    """One failed job, as the first screen lists it."""

    id: UUID
    account_id: str
    finished_at: datetime
    reason: str
    message: str | None


@dataclass(frozen=True, slots=True)
class LateDeliveries:
    """What Kie delivered, in the last day, after the end of its job."""

    tasks: int
    provider_credits: Decimal
    """What Kie charged us for them; no account was charged."""


async def read_late_deliveries(queries: Queries) -> LateDeliveries:
    """Return what came late in the last day. Raises `PostgresDown`."""
    row = await queries.fetch_row("late_deliveries", LATE_SECONDS)
    return LateDeliveries(**dict(row or {}))


async def read_snapshot(queries: Queries) -> QueueSnapshot:
    """Return the queue as it is now. Raises `PostgresDown`."""
    row = await queries.fetch_row("queue_snapshot", RECENT_JOBS_SECONDS)
    return QueueSnapshot(**dict(row or {}))


async def read_failures(queries: Queries, most: int = 10) -> list[FailedJob]:
    """Return the newest failed jobs. Raises `PostgresDown`."""
    return [FailedJob(**dict(row)) for row in await queries.fetch("last_failures", most)]
