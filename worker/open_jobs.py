"""Open jobs, as much of each as the reconciler needs to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from shared.domain.lifecycle import JobState


@dataclass(frozen=True, slots=True)
class OpenJob:
    """As much of an open job as its delivery needs."""

    id: UUID
    state: JobState
    due_at: datetime


def open_jobs_from(rows: Iterable[asyncpg.Record]) -> list[OpenJob]:
    """Return the open jobs that the rows describe."""
    return [OpenJob(UUID(int=row["id"].int), JobState(row["state"]), row["due_at"]) for row in rows]
