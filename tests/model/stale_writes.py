"""Every write of the store, as a worker that was suspended sends it from its old state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.job_events import Event
from tests.support.example_jobs import polled
from worker.store.job_store import JobStore

Write = Callable[[JobStore, Job, str], Awaitable[object]]

WRITES: Mapping[type[Event], Write] = {
    job_events.Submitted: lambda store, job, task: store.record_submitted(
        job, job_events.Submitted(task, 60)
    ),
    job_events.Deferred: lambda store, job, _: store.record_deferred(
        job, job_events.Deferred("rate_limited", "slow down", 0)
    ),
    job_events.Rejected: lambda store, job, _: store.reject(job, job_events.Rejected("no")),
    job_events.OutcomeUnknown: lambda store, job, _: store.record_unknown(
        job, job_events.OutcomeUnknown("reply_lost", "nothing came")
    ),
    job_events.SubmissionLost: lambda store, job, _: store.lose_submission(
        job.id, job.attempt, job_events.SubmissionLost("no evidence")
    ),
    job_events.Progressed: lambda store, job, _: store.record_progress(
        polled(job), job_events.Progressed(0.9)
    ),
    job_events.HeldForReview: lambda store, job, _: store.hold_for_review(
        polled(job), job_events.HeldForReview("result_unreadable", "no image URL", "{}")
    ),
    job_events.Completed: lambda store, job, _: store.settle(
        polled(job), job_events.Completed(("https://images.example/late.png",)), "current"
    ),
    job_events.ProviderFailed: lambda store, job, _: store.fail(
        polled(job), job_events.ProviderFailed("provider_failed", "no images")
    ),
    job_events.DeadlineExceeded: lambda store, job, _: store.exceed_deadline(
        polled(job), job_events.DeadlineExceeded("too late")
    ),
}
"""How a worker with this state of the job writes each event."""
