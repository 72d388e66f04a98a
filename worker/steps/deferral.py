"""Returns jobs to the queue whose attempt created no task, and slows down their Kie account."""

from __future__ import annotations

from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import Reason
from shared.errors import RedisDown
from worker.backoff import backoff_seconds
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccount
from worker.queue.delivery_run import DeliveryRun
from worker.steps.job_end import ignore_redis_outage, report_job_end
from worker.steps.retried_writes import write_until_stored

_ENDED_BY_A_ROUTE = frozenset({Reason.WRONG_ENDPOINT, Reason.MODEL_GONE})
"""A change of the route of the model ends the wait of a job for these reasons."""


async def defer_job(
    deps: Dependencies,
    run: DeliveryRun,
    account: KieAccount,
    job: Job,
    reason: str,
    message: str,
    began_at: float,
) -> float | None:
    """Return the job to the queue. This attempt created no task.

    Returns the seconds until it is tried again, or None where its cancel was requested: it has
    ended.
    """
    try:
        if reason == Reason.ACCOUNT_REFUSED:
            delay_seconds = await account.brake.apply(reason, message)
        else:
            delay_seconds = await slow_down(deps, account, reason, message, began_at)
    except RedisDown:
        delay_seconds = 5.0
    await end_family_probe(account, job)
    return await _return_to_queue(deps, run, account, job, reason, message, delay_seconds)


async def defer_for_wrong_endpoint(
    deps: Dependencies,
    run: DeliveryRun,
    account: KieAccount,
    job: Job,
    message: str,
    reason: Reason = Reason.WRONG_ENDPOINT,
) -> float | None:
    """Return the job to the queue. This attempt created no task, and no other would.

    Returns like `defer_job`.
    """
    try:
        delay_seconds = await account.brake.family_brake(job.family_name).record_wrong_endpoint(
            job.id, message, reason
        )
    except RedisDown:
        delay_seconds = 5.0
    return await _return_to_queue(deps, run, account, job, reason, message, delay_seconds)


async def slow_down(
    deps: Dependencies,
    account: KieAccount,
    reason: str,
    message: str,
    began_at: float,
    *,
    may_pause: bool = True,
) -> float:
    """Reduce the rate of the account's submits. Returns the seconds of a pause, or 0."""
    return await account.brake.slow_down(
        *(deps.submit_throttle.limit.requests, reason, message),
        under_way_seconds=deps.clock.monotonic() - began_at,
        may_pause=may_pause,
    )


async def end_family_probe(account: KieAccount, job: Job) -> None:
    """End the probe of a paused family: this submit proved nothing about it."""
    brake = account.brake.family_brake(job.family_name)
    if brake.level > 0:
        await ignore_redis_outage(brake.end_probe(job.id), doing="deliver_poll")


async def _return_to_queue(
    deps: Dependencies,
    run: DeliveryRun,
    account: KieAccount,
    job: Job,
    reason: str,
    message: str,
    delay_seconds: float,
) -> float | None:
    if deps.accounts.has_other_open_account(account, job.family_name):
        delay_seconds = 0.0  # only this account is paused: another takes the job
    delay_seconds += backoff_seconds(1, deps.random.random())
    event = job_events.Deferred(reason, message, delay_seconds)
    stored = await write_until_stored(deps, run, lambda: deps.store.record_deferred(job, event))
    if stored.is_terminal:
        report_job_end(deps, stored)
        return None
    if reason in _ENDED_BY_A_ROUTE:
        # There is no delay where the route of the model has changed since.
        delay_seconds = max((stored.due_at - deps.clock.now()).total_seconds(), 0.0)
    return delay_seconds
