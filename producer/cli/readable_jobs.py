"""Reads jobs for the command line, masked where the login may not read prompts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from producer.cli.command_runner import CommandContext
from producer.jobs.job_counts import JobCount
from producer.jobs.job_filter import JobFilter
from producer.jobs.job_repository import JobRepository
from producer.jobs.operator_methods import parse_job_id
from shared.adapters.postgres.sqlstates import INSUFFICIENT_PRIVILEGE
from shared.domain.job import Job
from shared.errors import PostgresDown

_Read = TypeVar("_Read")


class ReadableJobs:
    """Reads as the producer does, or what `darkroom_readonly` may read of it."""

    def __init__(self, context: CommandContext) -> None:
        self._producer = context.producer
        self._masked = JobRepository(context.database, is_masked=True)

    async def get(self, job_id: str) -> Job:
        """Return the job. Raises `JobNotFound`."""
        return await _first_allowed(
            lambda: self._producer.get(job_id), lambda: self._masked.get(parse_job_id(job_id))
        )

    async def list(self, where: JobFilter, *, below: UUID | None, limit: int) -> list[Job]:
        """Return the newest jobs with an id less than `below`."""
        return await _first_allowed(
            lambda: self._producer.list(where, below=below, limit=limit),
            lambda: self._masked.list(where, below=below, limit=limit),
        )

    async def count(self, where: JobFilter) -> Sequence[JobCount]:
        """Return how many jobs match, by state and reason."""
        return await _first_allowed(
            lambda: self._producer.count(where), lambda: self._masked.count(where)
        )


async def _first_allowed(
    read: Callable[[], Awaitable[_Read]], read_masked: Callable[[], Awaitable[_Read]]
) -> _Read:
    try:
        return await read()
    except PostgresDown as error:
        if error.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise
    return await read_masked()
