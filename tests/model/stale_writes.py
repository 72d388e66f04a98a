"""What a worker may write that slept through everything: each write of the store, from memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from shared.domain import events
from shared.domain.events import Event
from shared.domain.job import Job
from worker.job_store import JobStore

Write = Callable[[JobStore, Job, str], Awaitable[object]]

WRITES: Mapping[type[Event], Write] = {
    events.Submitted: lambda store, job, task: store.record_submitted(
        job, events.Submitted(task, 60)
    ),
    events.Deferred: lambda store, job, _: store.record_deferred(
        job, events.Deferred("rate_limited", "slow down", 0)
    ),
    events.Rejected: lambda store, job, _: store.reject(job, events.Rejected("no")),
    events.OutcomeUnknown: lambda store, job, _: store.record_unknown(
        job, events.OutcomeUnknown("reply_lost", "nothing came")
    ),
    events.SubmissionLost: lambda store, job, _: store.lose_submission(
        job.id, job.attempt, events.SubmissionLost("no evidence")
    ),
    events.Progressed: lambda store, job, _: store.record_progress(job, events.Progressed(0.9)),
    events.HeldForReview: lambda store, job, _: store.hold_for_review(
        job, events.HeldForReview("result_unreadable", "no image URL", "{}")
    ),
    events.Completed: lambda store, job, _: store.settle(
        job, events.Completed(("https://images.example/late.png",)), "current"
    ),
    events.ProviderFailed: lambda store, job, _: store.fail(
        job, events.ProviderFailed("provider_failed", "no images")
    ),
    events.DeadlineExceeded: lambda store, job, _: store.exceed_deadline(
        job, events.DeadlineExceeded("too late")
    ),
}
"""How each event is told to the database by a worker that remembers the job so."""
