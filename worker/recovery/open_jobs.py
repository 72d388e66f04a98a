"""Open jobs, as much of each as the reconciler needs to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from shared.adapters.postgres.database import Queries
from shared.domain.lifecycle import JobState

_BEFORE_ALL = ("", datetime.min.replace(tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class OpenJob:
    """As much of an open job as its delivery needs."""

    id: UUID
    state: JobState
    due_at: datetime
    due_in_seconds: float
    """Until then, when it was read; below 0 where it is due."""


async def fetch_overdue_unknown(
    queries: Queries, limit_seconds: float, most: int
) -> list[tuple[UUID, int]]:
    """Return id and attempt of unknown submissions older than the limit."""
    rows = await queries.fetch("overdue_unknown_jobs", limit_seconds, most)
    return [(UUID(int=row["id"].int), row["attempt"]) for row in rows]


async def fetch_recent_open_jobs(
    queries: Queries, newest_seconds: float, grace_seconds: float, most: int
) -> list[OpenJob]:
    """Return queued and generating jobs that changed lately, but not just now."""
    rows = await queries.fetch("fresh_open_jobs", newest_seconds, grace_seconds, most)
    return _open_jobs_from(rows)


async def fetch_open_jobs_page(
    queries: Queries, last: OpenJob | None, grace_seconds: float, most: int
) -> list[OpenJob]:
    """Return the page of open jobs that follows the last one of a page; None: the first."""
    place = (last.state.value, last.due_at, last.id) if last else _BEFORE_ALL
    rows = await queries.fetch("open_jobs_after", *place, most, grace_seconds)
    return _open_jobs_from(rows)


def _open_jobs_from(rows: Iterable[asyncpg.Record]) -> list[OpenJob]:
    """Return the open jobs that the rows describe."""
    return [
        OpenJob(
            UUID(int=row["id"].int), JobState(row["state"]), row["due_at"], row["due_in_seconds"]
        )
        for row in rows
    ]
