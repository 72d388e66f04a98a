"""The poll step: query Kie once and apply the outcome. Only this step charges for a success."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.change_messages import Change
from shared.catalog import get_family
from shared.catalog.request_images import explain_unfetched_image
from shared.domain import job_events
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
    Unreadable,
)
from shared.errors import RowBusy
from worker.backoff import backoff_seconds
from worker.dependencies import Dependencies
from worker.poll_timing import LONGEST_GAP_SECONDS, PollObservation, SuccessTiming, TaskKind
from worker.queue.delivery_run import UNCLAIMED, DeliveryRun
from worker.steps.job_end import (
    report_job_end,
    report_task_failure,
    report_task_overdue,
    report_task_success,
)
from worker.steps.unreadable_success import REVIEW_POLL_SECONDS, hold_for_review, is_under_review
from worker.store.job_cache import GeneratingJob
from worker.store.settled_job import SettledJob

LAST_POLL_LIMIT_SECONDS = 300.0
"""How long after the deadline a last poll is repeated while Kie does not answer it."""
_WRONG_ENDPOINT_ADVICE = (
    "not Kie's endpoint answers the polls: no job fails for it, and none ends. Compare"
    " KIE_BASE_URL, proxy and DNS with Kie's documentation of this model"
)
WRONG_ENDPOINT_POLL_SECONDS = 60.0
"""How long until a task past its deadline is polled again while another endpoint than Kie's
answers."""
_SLOW_DOWN_SECONDS = 5.0
_UNDECIDED_QUIET_SECONDS = 45.0
"""Longer than the longest pause between two polls, so that a task without an outcome is one
incident."""


async def poll_job(deps: Dependencies, job_id: UUID, run: DeliveryRun = UNCLAIMED) -> float | None:
    """Query the job's task once. Returns the seconds to the next poll, or None when the job has
    ended.
    """
    job = await deps.store.load_for_poll(job_id)
    if job is None:
        deps.poll_state.forget(job_id)
        return None
    # Kie is not queried while the result could not be stored.
    deps.store.busy.raise_if_still_busy(job_id)
    account = job.provider_account or ""
    wait_seconds = deps.poll_state.concurrency.wait_before_start(account)
    if wait_seconds > 0:
        return wait_seconds
    with deps.poll_state.concurrency.counted(account):
        outcome = await _query_task(deps, run, job)
    if not isinstance(outcome, NoVerdict):
        incidents.record_success("poll_undecided", account)
    return await _apply_outcome(deps, job, outcome)


async def _query_task(deps: Dependencies, run: DeliveryRun, job: GeneratingJob) -> PollOutcome:
    async with deps.poll_throttle.permit(job.provider_task_id):
        deps.metrics.count_poll(run.lateness_seconds(asyncio.get_running_loop().time()))
        kie = deps.accounts.client_of(job.provider_account)
        return await kie.poll(get_family(job.family_name), job.provider_task_id)


async def _apply_outcome(
    deps: Dependencies, job: GeneratingJob, outcome: PollOutcome
) -> float | None:
    deps.check_crash_point("after_poll")
    had_callback = False
    if isinstance(outcome, Delivered | TaskFailed) and deps.settings.kie_callback_url is not None:
        had_callback = await deps.store.has_callback(job.id, job.attempt)
        deps.poll_state.callback_trust.record(had_callback)
    match outcome:
        case Delivered():
            settled = await _settle(deps, job, outcome)
            _record_completion_time(deps, job, settled, outcome, had_callback)
            await report_task_success(deps, job)
        case TaskFailed(reason, message):
            deps.poll_state.planner.forget(job.id)
            if outcome.image_not_fetched:
                message = explain_unfetched_image(message, (await deps.store.load(job.id)).request)
            failed = await deps.store.fail(job, job_events.ProviderFailed(reason, message))
            report_job_end(deps, failed)
            await report_task_failure(deps, job, outcome)
        case Pending(progress):
            return await _poll_again(deps, job, progress)
        case Unreadable():
            is_overdue = _seconds_to_deadline(deps, job) <= 0
            return await hold_for_review(deps, job, outcome, is_overdue=is_overdue)
        case NoVerdict():
            return await _poll_again_undecided(deps, job, outcome)
    return None


async def _settle(deps: Dependencies, job: GeneratingJob, outcome: Delivered) -> SettledJob:
    count, asked = len(outcome.result_urls), job.quantity
    note = f"{count} of {asked} images were delivered" if count < asked else None
    event = job_events.Completed(
        outcome.result_urls, note, outcome.finished_at, outcome.consumed_credits
    )
    within_seconds = deps.settings.copies_within_seconds
    settled = await deps.store.settle(job, event, deps.settings.charge_basis, within_seconds)
    deps.check_crash_point("after_settle")
    lag_seconds = None
    if outcome.finished_at is not None:
        lag_seconds = (settled.finished_at - outcome.finished_at).total_seconds()
    report_job_end(deps, settled, lag_seconds, is_announced=within_seconds is None)
    if within_seconds is not None:
        deps.images_to_copy.set()
    return settled


def _record_completion_time(
    deps: Dependencies,
    job: GeneratingJob,
    settled: SettledJob,
    outcome: Delivered,
    had_callback: bool,
) -> None:
    """Record how long the task took, for the plans of its kind."""
    if settled.submitted_at is None:
        return
    observed_seconds = (settled.finished_at - settled.submitted_at) / timedelta(seconds=1)
    reported_seconds = None
    if outcome.finished_at is not None:
        reported_seconds = (outcome.finished_at - settled.submitted_at) / timedelta(seconds=1)
    elif had_callback:
        reported_seconds = observed_seconds
    ending = SuccessTiming(observed_seconds, reported_seconds, deps.random.random())
    deps.poll_state.planner.record_success(job.id, TaskKind.of(job), ending)


async def _poll_again(deps: Dependencies, job: GeneratingJob, progress: float) -> float | None:
    deps.poll_state.reset_undecided(job.id)
    if progress > job.progress:
        # Where another session locks the row, the next poll stores the progress.
        with suppress(RowBusy):
            await deps.store.record_progress(job, job_events.Progressed(progress))
            deps.publish_change(Change(job.id))
    if is_under_review(job):
        return REVIEW_POLL_SECONDS
    left_seconds = _seconds_to_deadline(deps, job)
    if left_seconds <= 0:
        await _exceed_deadline(deps, job, "the last poll found it still generating")
        return None
    sighting = PollObservation(_elapsed_seconds(deps, job), progress)
    deps.poll_state.planner.record_pending(job.id, sighting)
    if sighting.elapsed_seconds > deps.poll_state.planner.overdue_seconds(TaskKind.of(job)):
        await report_task_overdue(deps, job, sighting.elapsed_seconds)
    if not deps.poll_state.is_awaited(job):
        return min(LONGEST_GAP_SECONDS, left_seconds)
    return deps.poll_state.planner.seconds_until_next_poll(
        TaskKind.of(job), sighting, left_seconds, deps.poll_state.callback_trust.interval_factor()
    )


async def _poll_again_undecided(
    deps: Dependencies, job: GeneratingJob, outcome: NoVerdict
) -> float | None:
    """An answer without an outcome never ends the job. Only its deadline does."""
    tries = deps.poll_state.count_undecided(job.id)
    if outcome.wrong_endpoint:
        incidents.record_failure(
            "poll_endpoint_wrong",
            job.provider_account or "",
            outcome.message,
            level="critical",
            calm_seconds=_UNDECIDED_QUIET_SECONDS,
            job_id=str(job.id),
            meaning=_WRONG_ENDPOINT_ADVICE,
        )
    incidents.record_failure(
        "poll_undecided",
        job.provider_account or "",
        outcome.message,
        calm_seconds=_UNDECIDED_QUIET_SECONDS,
        job_id=str(job.id),
    )
    if is_under_review(job):
        return REVIEW_POLL_SECONDS
    left_seconds = _seconds_to_deadline(deps, job)
    if outcome.wrong_endpoint and left_seconds <= 0:
        # The answer was not from Kie. The job ends once Kie itself answers again.
        return WRONG_ENDPOINT_POLL_SECONDS
    limit_seconds = 0.0 if outcome.has_record else -LAST_POLL_LIMIT_SECONDS
    if left_seconds <= limit_seconds:
        await _exceed_deadline(deps, job, f"the last poll: {outcome.message}")
        return None
    delay_seconds = backoff_seconds(tries, deps.random.random())
    if left_seconds > 0:
        delay_seconds = min(delay_seconds, left_seconds)
    if outcome.slow_down or outcome.account_blocked:
        delay_seconds = max(delay_seconds, _SLOW_DOWN_SECONDS)
    return delay_seconds


async def _exceed_deadline(deps: Dependencies, job: GeneratingJob, message: str) -> None:
    event = job_events.DeadlineExceeded(
        f"not done {deps.settings.job_deadline_seconds:g} s after submission; {message}"
    )
    ended = await deps.store.exceed_deadline(job, event)
    deps.poll_state.planner.forget(job.id)
    was_noted = deps.poll_state.is_overdue(job.id)
    report_job_end(deps, ended)
    if not was_noted:
        await report_task_overdue(deps, job, _elapsed_seconds(deps, job))
        deps.poll_state.end_job(job.id)


def _elapsed_seconds(deps: Dependencies, job: GeneratingJob) -> float:
    since = job.submitted_at or job.created_at
    return max((deps.clock.now() - since) / timedelta(seconds=1), 0.0)


def _seconds_to_deadline(deps: Dependencies, job: GeneratingJob) -> float:
    if job.deadline_at is None:
        return deps.settings.job_deadline_seconds
    return (job.deadline_at - deps.clock.now()) / timedelta(seconds=1)
