"""Caches the jobs whose tasks this worker polls, so that a poll reads no row.

A cached job may be out of date. Every write is guarded by state and attempt in Postgres, so a job
that has moved on elsewhere costs one more query to Kie and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.domain.job import Job
from shared.domain.lifecycle import JobState

MAX_CACHED_JOBS = 20_000


@dataclass(frozen=True, slots=True)
class GeneratingJob:
    """What the poll step needs of a job with a task at Kie.

    It has no request and no metadata: a prompt may be long, and there may be ten thousand jobs.
    """

    id: UUID
    account_id: str
    model: str
    task: str
    quantity: int
    variant: str
    attempt: int
    provider_task_id: str
    provider_account: str | None
    """The Kie account of the task. None if the row had none."""
    route: str | None
    """The family by which the task was made. None for the model's own family."""
    progress: float
    reason: str | None
    created_at: datetime
    submitted_at: datetime | None
    deadline_at: datetime | None
    is_cancel_requested: bool = False
    """Whether nobody waits for it. A request after it was cached is in `PollState`."""

    @property
    def family_name(self) -> str:
        """The family by which the task was made."""
        return self.route or self.model

    @classmethod
    def of(cls, job: Job) -> GeneratingJob | None:
        """Return the job without the other fields, or None if it has no task to poll."""
        if job.state is not JobState.GENERATING or job.provider_task_id is None:
            return None
        return cls(
            job.id,
            job.account_id,
            job.model,
            job.task,
            job.quantity,
            job.variant,
            job.attempt,
            job.provider_task_id,
            job.provider_account,
            job.route,
            job.progress,
            job.reason,
            job.created_at,
            job.submitted_at,
            job.deadline_at,
            job.is_cancel_requested,
        )


class JobCache:
    """The newest generating jobs."""

    def __init__(self, most: int = MAX_CACHED_JOBS) -> None:
        self._most = most
        self._jobs: OrderedDict[UUID, GeneratingJob] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job_id: UUID) -> GeneratingJob | None:
        """Return the job as it was last seen, or None."""
        return self._jobs.get(job_id)

    def all(self) -> dict[UUID, GeneratingJob]:
        """Return all cached jobs by id."""
        return dict(self._jobs)

    def store(self, job: GeneratingJob) -> None:
        """Store the job. The oldest is removed when the cache is full."""
        self._jobs[job.id] = job
        self._jobs.move_to_end(job.id)
        while len(self._jobs) > self._most:
            self._jobs.popitem(last=False)

    def update(self, job: Job) -> GeneratingJob | None:
        """Store what a poll needs of the job. Remove a job without a task to poll.

        Returns what was stored.
        """
        generating = GeneratingJob.of(job)
        if generating is None:
            self.forget(job.id)
        else:
            self.store(generating)
        return generating

    def forget(self, job_id: UUID) -> None:
        """Remove the job, so that its row is read next time."""
        self._jobs.pop(job_id, None)
