"""Caches the jobs whose tasks this worker polls, so that a poll reads no row.

A cached job may be out of date. Every write is guarded by state and attempt in Postgres, so a job
that has moved on elsewhere costs one more query to Kie and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from shared.domain.job import Job, replace_fields
from shared.domain.lifecycle import JobState

MAX_CACHED_JOBS = 20_000


class JobCache:
    """The newest generating jobs, without the fields that only the submit step needs."""

    def __init__(self, most: int = MAX_CACHED_JOBS) -> None:
        self._most = most
        self._jobs: OrderedDict[UUID, Job] = OrderedDict()

    def get(self, job_id: UUID) -> Job | None:
        """Return the job as it was last seen, or None."""
        return self._jobs.get(job_id)

    def all(self) -> dict[UUID, Job]:
        """Return all cached jobs by id."""
        return dict(self._jobs)

    def store(self, job: Job) -> None:
        """Store a generating job. Remove any other."""
        if job.state is not JobState.GENERATING:
            self.forget(job.id)
            return
        # A prompt may be long, and there may be ten thousand jobs.
        if job.request or job.metadata:
            job = replace_fields(job, request={}, metadata={})
        self._jobs[job.id] = job
        self._jobs.move_to_end(job.id)
        while len(self._jobs) > self._most:
            self._jobs.popitem(last=False)

    def forget(self, job_id: UUID) -> None:
        """Remove the job, so that its row is read next time."""
        self._jobs.pop(job_id, None)
