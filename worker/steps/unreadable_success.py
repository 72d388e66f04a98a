"""Puts a job under review when Kie reports a success that cannot be read.

The job stays open until Kie answers readably or an operator decides. Nothing is charged by guess,
and no deadline ends the job: a deadline would release the hold of images that were paid for.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from shared.adapters.redis.change_messages import Change
from shared.domain import job_events
from shared.domain.kie_outcomes import Unreadable
from shared.domain.lifecycle import Reason
from worker.backoff import backoff_seconds
from worker.dependencies import Dependencies
from worker.store.job_cache import GeneratingJob

log = structlog.get_logger(__name__)

REVIEW_POLL_SECONDS = 300.0
"""How long until a job under review is polled again: Kie may yet answer readably."""
UNREADABLE_ANSWERS_BEFORE_REVIEW = 3
"""So many unreadable answers in a row start a review. The first may show a record that is half
written."""
_CONFIRM_POLL_SECONDS = 3.0


def is_under_review(job: GeneratingJob) -> bool:
    """Return whether the job is under review."""
    return job.reason == Reason.RESULT_UNREADABLE


async def hold_for_review(
    deps: Dependencies, job: GeneratingJob, outcome: Unreadable, *, is_overdue: bool
) -> float:
    """Start the review once the answer is confirmed. Returns the seconds to the next poll."""
    tries = deps.poll_state.count_undecided(job.id)
    if not is_under_review(job):
        if tries < UNREADABLE_ANSWERS_BEFORE_REVIEW and not is_overdue:
            return backoff_seconds(tries, deps.random.random(), first=_CONFIRM_POLL_SECONDS)
        await _start_review(deps, job, outcome)
    deps.poll_state.reset_undecided(job.id)
    return REVIEW_POLL_SECONDS


async def _start_review(deps: Dependencies, job: GeneratingJob, outcome: Unreadable) -> None:
    event = job_events.HeldForReview(Reason.RESULT_UNREADABLE, outcome.message, outcome.answer)
    await deps.store.hold_for_review(job, event)
    deps.poll_state.planner.forget(job.id)
    deps.metrics.held_for_review.labels(Reason.RESULT_UNREADABLE).inc()
    deps.publish_change(Change(job.id))
    log.error(
        "result_unreadable",
        job_id=str(job.id),
        provider_task_id=job.provider_task_id,
        message=outcome.message,
        answer=outcome.answer,
        meaning="Kie reports success, but not which images; the hold is kept, nothing is charged."
        f" {resolve_hint(job.id)}",
    )


def resolve_hint(job_id: UUID) -> str:
    """Return how an operator settles the job by hand."""
    return (
        f"Settle it: darkroom jobs resolve {job_id} --delivered URL --reason TEXT, or"
        " --undelivered --reason TEXT"
    )
