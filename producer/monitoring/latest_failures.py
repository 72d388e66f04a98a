"""Reads the newest failed jobs, and what Kie delivered after the end of its job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.adapters.postgres.database import Queries

_LATE_SECONDS = 86_400.0
"""The period of `LateDeliveries`."""


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
    row = await queries.fetch_row("late_deliveries", _LATE_SECONDS)
    return LateDeliveries(**dict(row or {}))


async def read_failures(queries: Queries, most: int = 10) -> list[FailedJob]:
    """Return the newest failed jobs. Raises `PostgresDown`."""
    return [FailedJob(**dict(row)) for row in await queries.fetch("last_failures", most)]
