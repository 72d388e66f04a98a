"""What one worker knows of the tasks that it polls, beside their jobs. In memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from worker.limits.account_concurrency import AccountConcurrency
from worker.poll_timing import PollPlanner
from worker.poll_timing.signal_trust import CallbackTrust
from worker.store.job_cache import GeneratingJob

CANCEL_REQUESTS_KEPT = 10_000
"""A worker is told of the requests of all workers, so the oldest are forgotten."""


@dataclass(slots=True)
class PollState:
    """The state of polling in one worker. A restarted worker begins without it."""

    planner: PollPlanner = field(default_factory=PollPlanner)
    """How long tasks take. Decides when each is polled next."""
    callback_trust: CallbackTrust = field(default_factory=CallbackTrust)
    """How reliable callbacks have been."""
    concurrency: AccountConcurrency = field(default_factory=AccountConcurrency)
    """How many polls of each Kie account run at once."""
    _undecided: dict[UUID, int] = field(default_factory=dict)
    overdue_jobs: set[UUID] = field(default_factory=set)
    """Jobs whose tasks were reported as taking far longer than any of their kind."""
    _unawaited: dict[UUID, None] = field(default_factory=dict)

    def count_undecided(self, job_id: UUID) -> int:
        """Count one more answer that decided nothing. Returns how many came in a row."""
        count = self._undecided[job_id] = self._undecided.get(job_id, 0) + 1
        return count

    def reset_undecided(self, job_id: UUID) -> None:
        """Reset the count of undecided answers."""
        self._undecided.pop(job_id, None)

    def is_overdue(self, job_id: UUID) -> bool:
        """Return whether the task of the job was reported as overdue."""
        return job_id in self.overdue_jobs

    def mark_overdue(self, job_id: UUID) -> None:
        """Record that the task was reported as overdue."""
        self.overdue_jobs.add(job_id)

    def record_cancel_request(self, job_id: UUID) -> None:
        """Record that nobody waits for the job. It may be polled by another worker."""
        if len(self._unawaited) >= CANCEL_REQUESTS_KEPT:
            del self._unawaited[next(iter(self._unawaited))]
        self._unawaited[job_id] = None

    def is_awaited(self, job: GeneratingJob) -> bool:
        """Return whether no cancel of the job was requested, as far as this worker knows."""
        return not job.is_cancel_requested and job.id not in self._unawaited

    def end_job(self, job_id: UUID) -> None:
        """Forget the counts of a job that has ended."""
        self._undecided.pop(job_id, None)
        self.overdue_jobs.discard(job_id)
        self._unawaited.pop(job_id, None)

    def forget(self, job_id: UUID) -> None:
        """Forget all about a job that is not polled any more."""
        self.end_job(job_id)
        self.planner.forget(job_id)
