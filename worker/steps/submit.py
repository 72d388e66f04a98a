"""The submit step: claim the attempt, send the one paid POST, store what Kie answered."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_urlsafe
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import Lane
from shared.catalog import ImageRequest, ModelFamily, carry_request, get_family
from shared.catalog.kie_response_codes import IMAGE_NOT_FETCHED_CODE
from shared.catalog.request_images import explain_unfetched_image
from shared.domain import job_events
from shared.domain.callback_url import callback_url
from shared.domain.job import Job
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    ModelGone,
    Refused,
    SubmitOutcome,
    TryLater,
    WrongEndpoint,
)
from shared.domain.lifecycle import JobState, Reason
from shared.errors import DatabaseRefused, InvalidRequest, StaleJob, TaskOfAnotherJob
from worker.backoff import backoff_seconds
from worker.dependencies import Dependencies
from worker.files.served_images import ServedImages, find_served_images
from worker.kie.account_pool import KieAccount
from worker.limits.active_pauses import JobPaused, KieAccountPaused
from worker.limits.model_routes import RouteChanged
from worker.poll_timing import TaskKind
from worker.queue.delivery_run import UNCLAIMED, DeliveryRun
from worker.recovery.lost_write_detection import load_or_record_lost_task
from worker.recovery.task_id_backup import PaidTask
from worker.steps.deferral import (
    defer_for_wrong_endpoint,
    defer_job,
    end_family_probe,
    slow_down,
)
from worker.steps.job_end import ignore_redis_outage, report_job_end
from worker.steps.retried_writes import write_task_id_until_stored, write_until_stored

log = structlog.get_logger(__name__)

STALE_CLAIM_SECONDS = 5.0
"""After a claim that took longer than this no POST is sent."""
_UNKNOWN_MODEL_RETRY_SECONDS = 60.0
_ROUTE_UNFIT_SECONDS = 3600.0
"""After this a job is tried again that its route cannot carry. A change of the route ends the wait
at once."""
_DUE_TOLERANCE_SECONDS = 0.25
"""A job that is due so soon is left to the claim, which compares with Postgres's clock. The clock
here is an estimate."""
_OTHER_ACCOUNT_RETRY_SECONDS = 0.1
"""After this a job is claimed again for another Kie account than the paused one."""


async def submit_job(
    deps: Dependencies, job_id: UUID, run: DeliveryRun = UNCLAIMED
) -> float | None:
    """Submit the job, or complete what an earlier run of this step left undone.

    The delivery of a paused job ends. The end of the pause delivers the job again.
    """
    try:
        return await _submit_or_complete(deps, job_id, run)
    except JobPaused:
        return None
    except RouteChanged:
        return 0.0
    except KieAccountPaused:
        # This worker has not read that pause yet.
        deps.pauses.request_read()
        return _OTHER_ACCOUNT_RETRY_SECONDS


async def _submit_or_complete(deps: Dependencies, job_id: UUID, run: DeliveryRun) -> float | None:
    routed = await deps.store.load_for_submit(job_id)
    job = routed.job
    match job.state:
        case JobState.QUEUED:
            return await _submit(deps, run, job, routed.route)
        case JobState.SUBMITTING:
            await _mark_lost_submission_unknown(deps, job)
        case JobState.GENERATING:
            # The first poll may not have been delivered. A delivery that exists is left as it is.
            await deps.poll_delivery.deliver(job.id, 0)
    return None


async def _submit(
    deps: Dependencies, run: DeliveryRun, job: Job, route: str | None
) -> float | None:
    early_seconds = (job.due_at - deps.clock.now()).total_seconds()
    if early_seconds > _DUE_TOLERANCE_SECONDS:
        return early_seconds
    family_name = route or job.model
    try:
        family = get_family(family_name)
        images = await find_served_images(deps, job)
        request = get_family(job.model).validate(job.task, images.fields)
    except InvalidRequest as error:
        # A newer producer has accepted it. A newer worker can submit it.
        incidents.record_failure(
            "job_not_in_catalog", job.model, error, level="error", job_id=str(job.id)
        )
        return _UNKNOWN_MODEL_RETRY_SECONDS
    if route is not None:
        try:
            request = carry_request(request, route)
        except InvalidRequest as error:
            await _wait_for_route(deps, job, route, error)
            return None
    delivery = Lane.SUBMIT.arq_id(job.id)
    account = deps.accounts.account_for_submit(run.gate)
    wait_seconds = await _family_brake_wait(deps, account, family_name, job.id)
    if wait_seconds > 0:
        return wait_seconds
    began_at = deps.clock.monotonic()
    async with deps.submit_throttle.permit(account.throttle_name, reservation_of=delivery):
        claim = job_events.Claimed(token_urlsafe(24), deps.worker_name, account.name, route)
        deps.check_crash_point("before_claim")
        asked_at = deps.clock.monotonic()
        claimed = await write_until_stored(
            deps, run, lambda: deps.store.claim(job, claim), raise_if_busy=True
        )
        deps.check_crash_point("after_claim")
        if deps.clock.monotonic() - asked_at > STALE_CLAIM_SECONDS:
            return await _undo_slow_claim(deps, run, claimed)
        url = callback_url(deps.settings.kie_callback_url, claim.token)
        outcome = await _send(account, family, request, images, url)
    deps.check_crash_point("after_post")
    return await _store_outcome(deps, run, account, claimed, outcome, began_at)


async def _send(
    account: KieAccount,
    family: ModelFamily,
    request: ImageRequest,
    images: ServedImages,
    url: str | None,
) -> SubmitOutcome:
    """Send the paid POST, unless Kie has deleted an image of the request."""
    if images.fault is not None:
        return Refused(images.fault, IMAGE_NOT_FETCHED_CODE)
    outcome = await account.kie.submit(family, request, callback_url=url)
    if isinstance(outcome, Refused) and outcome.code == IMAGE_NOT_FETCHED_CODE:
        return replace(outcome, message=explain_unfetched_image(outcome.message, images.fields))
    return outcome


async def _wait_for_route(deps: Dependencies, job: Job, route: str, error: InvalidRequest) -> None:
    """Let the job wait until its model has a route that carries it. A change of the route makes
    it due. It is then chosen and delivered again.
    """
    message = f"{job.model} is sent by {route}, which cannot carry this request: {error}"
    event = job_events.RouteUnfit(route, message, _ROUTE_UNFIT_SECONDS)
    await deps.store.record_route_unfit(job, event)
    deps.publish_change(Change(job.id))


async def _family_brake_wait(
    deps: Dependencies, account: KieAccount, family_name: str, job_id: UUID
) -> float:
    """Return the seconds that a job of a paused family waits. Nothing has been written yet."""
    brake = account.brake.family_brake(family_name)
    if brake.level == 0:
        return 0.0
    wait_seconds = await brake.probe_wait_seconds(job_id)
    if wait_seconds > 0 and deps.accounts.has_other_open_account(account, family_name):
        return min(wait_seconds, _OTHER_ACCOUNT_RETRY_SECONDS)
    return wait_seconds


async def _undo_slow_claim(deps: Dependencies, run: DeliveryRun, job: Job) -> float | None:
    """Return the job to the queue. Its lease and its permit may be gone, and nothing was sent.

    Returns None where its cancel was requested: it has ended.
    """
    message = "the database did not answer while the attempt was claimed; nothing was sent"
    event = job_events.Deferred(Reason.UNREACHABLE, message, 0.0)
    stored = await write_until_stored(deps, run, lambda: deps.store.record_deferred(job, event))
    if stored.is_terminal:
        report_job_end(deps, stored)
        return None
    return backoff_seconds(1, deps.random.random())


async def _mark_lost_submission_unknown(deps: Dependencies, job: Job) -> None:
    """Another worker claimed the attempt and its lease has lapsed, else `TooEarly` is raised.

    No worker posts again, because that might buy the images twice. If that worker is alive, its
    reply is still accepted: the lifecycle has a transition from `unknown` by `Submitted`.
    """
    await deps.store.record_unknown(
        job,
        job_events.OutcomeUnknown(
            Reason.WORKER_LOST, "the worker was lost between its intent to submit and Kie's reply"
        ),
        lease_seconds=deps.lease_seconds,
    )
    deps.publish_change(Change(job.id))
    deps.metrics.unknown.labels(Reason.WORKER_LOST).inc()
    log.warning("submission_unknown", job_id=str(job.id), reason=Reason.WORKER_LOST)


async def _store_outcome(
    deps: Dependencies,
    run: DeliveryRun,
    account: KieAccount,
    job: Job,
    outcome: SubmitOutcome,
    began_at: float,
) -> float | None:
    """Store what Kie answered. `began_at` is the monotonic time before the POST."""
    match outcome:
        case Accepted(task_id):
            return await _store_accepted(deps, run, account, job, task_id, began_at)
        case TryLater(reason, message):
            return await defer_job(deps, run, account, job, reason, message, began_at)
        case AccountBlocked(message):
            reason = Reason.ACCOUNT_REFUSED
            return await defer_job(deps, run, account, job, reason, message, began_at)
        case WrongEndpoint(message):
            return await defer_for_wrong_endpoint(deps, run, account, job, message)
        case ModelGone(message):
            return await defer_for_wrong_endpoint(
                deps, run, account, job, message, Reason.MODEL_GONE
            )
        case Refused(message):
            event = job_events.Rejected(message)
            report_job_end(
                deps, await write_until_stored(deps, run, lambda: deps.store.reject(job, event))
            )
            await end_family_probe(account, job)
        case Ambiguous():
            await _store_unknown(deps, run, account, job, outcome, began_at)
    return None


async def _store_unknown(
    deps: Dependencies,
    run: DeliveryRun,
    account: KieAccount,
    job: Job,
    outcome: Ambiguous,
    began_at: float,
) -> None:
    """Store that a paid task may exist. The hold stays, and several in a row pause the family.

    A server error slows down the account as well. A lost reply does not: the network may be at
    fault.
    """
    reason, message = outcome.reason, outcome.message
    unknown = job_events.OutcomeUnknown(reason, message)
    await write_until_stored(deps, run, lambda: deps.store.record_unknown(job, unknown))
    deps.metrics.unknown.labels(reason).inc()
    log.warning("submission_unknown", job_id=str(job.id), reason=reason, message=message)
    if reason == Reason.SERVER_ERROR and not outcome.wrong_endpoint:
        await ignore_redis_outage(
            slow_down(deps, account, reason, message, began_at, may_pause=False),
            doing="deliver_poll",
        )
    brake = account.brake.family_brake(job.family_name)
    if outcome.wrong_endpoint:
        await ignore_redis_outage(
            brake.record_wrong_endpoint(job.id, message), doing="deliver_poll"
        )
    else:
        await ignore_redis_outage(
            brake.record_uncertain_submit(job.id, reason, message), doing="deliver_poll"
        )


async def _store_accepted(
    deps: Dependencies,
    run: DeliveryRun,
    account: KieAccount,
    job: Job,
    task_id: str,
    began_at: float,
) -> float | None:
    event = job_events.Submitted(task_id, deps.settings.job_deadline_seconds)
    paid_task = PaidTask(job.id, job.attempt, task_id, account.name, deps.clock.now().isoformat())
    try:
        submitted = await write_task_id_until_stored(
            deps, run, paid_task, lambda: deps.store.record_submitted(job, event)
        )
    except DatabaseRefused as error:
        await _store_refused_task_id(deps, run, job, paid_task, error)
        return None
    except StaleJob:
        # Either our own first write was stored though its reply was lost, or the job has ended.
        found = await load_or_record_lost_task(deps, job, task_id)
        if found is None or found.provider_task_id != task_id:
            log.error("task_without_job", **paid_task.log_fields)
            return None
        submitted = found
    deps.check_crash_point("after_submitted")
    deps.metrics.count_submitted(submitted)
    if account.brake.is_probing:
        under_way_seconds = deps.clock.monotonic() - began_at
        await ignore_redis_outage(
            account.brake.record_accepted(under_way_seconds), doing="deliver_poll"
        )
    family_brake = account.brake.family_brake(job.family_name)
    if family_brake.needs_success_reports:
        await ignore_redis_outage(family_brake.record_accepted(job.id), doing="deliver_poll")
    first_poll_delay_seconds = await _first_poll_delay(deps, submitted)
    await ignore_redis_outage(
        deps.poll_delivery.deliver(submitted.id, first_poll_delay_seconds), doing="deliver_poll"
    )
    return None


async def _store_refused_task_id(
    deps: Dependencies, run: DeliveryRun, job: Job, paid_task: PaidTask, error: DatabaseRefused
) -> None:
    """Postgres refused the id of a paid task. Store it in the message of the job, for a person."""
    if isinstance(error, TaskOfAnotherJob):
        log.error("task_of_another_job", **paid_task.log_fields, error=str(error))
        message = f"Kie named task {paid_task.task_id}, which another job has"
    else:
        log.error(
            "task_id_refused", **paid_task.log_fields, error=str(error), sqlstate=error.sqlstate
        )
        message = f"Kie made task {paid_task.task_id}, but it could not be stored: {error}"
    unknown = job_events.OutcomeUnknown(Reason.REPLY_LOST, message)
    await write_until_stored(deps, run, lambda: deps.store.record_unknown(job, unknown))
    await deps.task_id_backup.remove(paid_task)


async def _first_poll_delay(deps: Dependencies, job: Job) -> float:
    """Return 0 where a callback came before the reply to the POST was stored."""
    if deps.settings.kie_callback_url is None or not await deps.store.has_callback(
        job.id, job.attempt
    ):
        return deps.poll_state.planner.first_poll_delay_seconds(TaskKind.of(job))
    return 0.0
