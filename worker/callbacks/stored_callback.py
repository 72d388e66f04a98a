"""What a callback claims: that this task was made by the attempt which its token names."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import asyncpg


@dataclass(frozen=True, slots=True)
class StoredCallback:
    """A stored callback with the attempt that its token names."""

    token: str = field(repr=False)
    task_id: str
    job_id: UUID
    number: int
    provider_account: str
    """Which of our accounts at Kie the attempt was sent with."""
    outcome: str | None


def callback_from_row(row: asyncpg.Record) -> StoredCallback:
    """Return the claim of a row of `callback_by_id`."""
    return StoredCallback(
        token=row["token"],
        task_id=row["claimed_task_id"],
        job_id=UUID(int=row["job_id"].int),
        number=row["number"],
        provider_account=row["provider_account"],
        outcome=row["outcome"],
    )
