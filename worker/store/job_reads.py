"""Reads the jobs that are asked for in one moment with one statement."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from shared.adapters.postgres.database import Queries
from shared.errors import DarkroomError
from worker.batching.micro_batch import MicroBatch

MAX_READ_JOBS = 500


class BatchedReads:
    """The worker's reads of whole jobs. Raises `PostgresDown`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._rows: MicroBatch[UUID, asyncpg.Record | None] = MicroBatch(
            self._fetch_rows, most=MAX_READ_JOBS
        )

    async def row(self, job_id: UUID) -> asyncpg.Record | None:
        """Return the row of the job, with the Kie account of its newest attempt, or None."""
        return await self._rows.send_and_wait(job_id)

    async def _fetch_rows(self, job_ids: Sequence[UUID]) -> list[asyncpg.Record | Exception | None]:
        """Read these jobs together; one that cannot be read is the error of its own run alone."""
        try:
            rows = await self._queries.fetch("jobs_to_run", job_ids)
        except DarkroomError:
            raise
        except Exception as error:
            # The driver cannot read a value of some row, and says not of which.
            if len(job_ids) == 1:
                return [error]
            half = len(job_ids) // 2
            return [
                *await self._fetch_rows(job_ids[:half]),
                *await self._fetch_rows(job_ids[half:]),
            ]
        by_id = {row["id"]: row for row in rows}
        return [by_id.get(job_id) for job_id in job_ids]
