"""Reads the registry of processes: who is alive, who stopped, who died, by Postgres's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from shared.adapters.postgres.database import Queries

ALIVE_SECONDS = 15.0
"""A process not seen for this long is not alive."""

ProcessKind = Literal["worker", "api"]


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One row of the registry, for people and gauges."""

    id: UUID
    kind: ProcessKind
    name: str
    version: str
    redis: str
    started_at: datetime
    seen_at: datetime
    redis_seen_at: datetime | None
    clock_skew_seconds: float | None
    stopped_at: datetime | None
    limits: Mapping[str, Any]
    detail: Mapping[str, Any]
    started_seconds_ago: float
    seen_seconds_ago: float
    redis_seen_seconds_ago: float | None
    is_alive: bool
    """Seen within `ALIVE_SECONDS` and not stopped."""


async def list_processes(
    queries: Queries, *, look_back_seconds: float = 3600.0
) -> list[ProcessRow]:
    """Return the processes seen lately, newest first. Raises `PostgresDown`."""
    rows = await queries.fetch("list_processes", ALIVE_SECONDS, look_back_seconds)
    return [ProcessRow(**dict(row)) for row in rows]
