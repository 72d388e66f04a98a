"""Turns steps into arq functions: what a step returns or raises becomes a snooze or an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import POSTGRES, REDIS, incidents
from shared.adapters.redis.deliveries import Lane
from shared.errors import DependencyDown, JobNotFound, RowBusy, StaleJob, TooEarly
from worker.dependencies import Dependencies
from worker.kie.balance_check import BALANCE_CHECK_SECONDS, BalanceCheck
from worker.limits.submit_gates import SubmitGates
from worker.limits.throttle import Throttled
from worker.poll_timing import backoff_seconds
from worker.queue.leased_worker import ArqFunction, LeasedWorker, Snoozed
from worker.queue.periodic_work import PeriodicRunner, PeriodicWork
from worker.recovery.late_task_checks import LateTaskChecks
from worker.recovery.lost_write_detection import (
    check_event_mark,
    record_if_rolled_back,
    record_missing_job,
)
from worker.recovery.reconciler import RECONCILE_SECONDS, Reconciler
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job
from worker.webhooks.http_sender import MAX_SENDS_AT_ONCE
from worker.webhooks.send_step import send_webhook

log = structlog.get_logger(__name__)

SUBMITS_AT_ONCE = 200
"""Each takes some 0.1 s of a busy worker, for the most part waiting for its turn to say something:
fifty would be 500 a second, fewer than it can send. Where Kie's limit holds, it holds first."""
POLLS_AT_ONCE = 1_000
"""Each waits some 0.2 s for Kie: a hundred would be 500 a second, too few for 10,000 tasks."""
_AFTER_BUG_SECONDS = 30.0
LATE_TASK_CHECK_SECONDS = 10.0
"""How often late tasks are looked for."""
_TOO_EARLY_MARGIN_SECONDS = 0.005

Step = Callable[[Dependencies, UUID], Awaitable[float | None]]


def arq_function_of(deps: Dependencies, step: Step) -> ArqFunction:
    """Return the arq function that runs this step: it snoozes, or it is done. It never fails."""

    async def run(_: dict[str, Any], job_id: str) -> None:
        try:
            parsed_id = UUID(job_id)
        except ValueError:
            log.warning("delivery_without_job", job_id=job_id[:80])
            return
        delay_seconds = await _run_step(deps, step, parsed_id)
        if delay_seconds is not None:
            raise Snoozed(delay_seconds)

    return run


async def _run_step(deps: Dependencies, step: Step, job_id: UUID) -> float | None:
    cached = deps.store.cache.get(job_id)
    try:
        delay_seconds = await step(deps, job_id)
    except Throttled as throttled:
        deps.metrics.throttled.labels(step.__name__).inc()
        return throttled.wait_seconds + deps.random.random() * 0.05
    except TooEarly as early:
        # By Postgres's clock, which decides. A moment later, because its statement takes one.
        return early.wait_seconds + _TOO_EARLY_MARGIN_SECONDS
    except StaleJob as stale:
        log.info("stale_job", job_id=str(job_id), event_name=stale.event)
        if cached is not None:
            await record_if_rolled_back(deps, cached)
    except JobNotFound:
        log.warning("delivery_without_job", job_id=str(job_id))
        await record_missing_job(deps, job_id, cached)
    except RowBusy as busy:
        # Said once for the row, not once for each job that waits for it.
        return busy.wait_seconds * (1 + 0.2 * deps.random.random())
    except DependencyDown as down:
        incidents.record_outage(down, doing=step.__name__, job_id=str(job_id))
        return backoff_seconds(2, deps.random.random())
    except Exception as error:
        # A bug of ours must not take the delivery away: the job stays where it is and the log
        # says what to mend.
        incidents.record_failure(
            "step_failed",
            step.__name__,
            repr(error),
            level="error",
            calm_seconds=2 * _AFTER_BUG_SECONDS,
            job_id=str(job_id),
            exc_info=True,
        )
        return _AFTER_BUG_SECONDS
    else:
        incidents.record_recovery(POSTGRES)
        incidents.record_success("step_failed", step.__name__)
        return delay_seconds
    return None


def build_periodic(deps: Dependencies, reconciler: Reconciler) -> list[PeriodicRunner]:
    """Return what the workers do at intervals: reconcile, check balances and late tasks."""
    balances = [BalanceCheck(deps, account) for account in deps.accounts]

    async def reconcile() -> None:
        await reconciler.run_once()
        await check_event_mark(deps)
        incidents.record_recovery(POSTGRES, REDIS)

    async def check_balance(balance: BalanceCheck) -> None:
        try:
            await balance.check()
        except DependencyDown as down:
            incidents.record_outage(down, doing="check_balance")

    async def check_balances() -> None:
        await asyncio.gather(*map(check_balance, balances))

    works = (
        PeriodicWork("reconcile", RECONCILE_SECONDS, reconcile),
        PeriodicWork("check_balance", BALANCE_CHECK_SECONDS, check_balances),
        PeriodicWork("check_late_tasks", LATE_TASK_CHECK_SECONDS, LateTaskChecks(deps).check_due),
    )
    return [
        PeriodicRunner(deps.delivery_queue.redis, work, deps.worker_name, deps.may_claim)
        for work in works
    ]


def build_lanes(deps: Dependencies) -> list[LeasedWorker]:
    """Return the submit lane and the poll lane."""
    gates = [account.gate(deps.submit_throttle.limit) for account in deps.accounts]
    lease_ms = int(deps.lease_seconds * 1000)
    redis = deps.delivery_queue.redis
    submit_lane = LeasedWorker(
        Lane.SUBMIT,
        arq_function_of(deps, submit_job),
        redis=redis,
        scripts=deps.scripts,
        max_jobs=SUBMITS_AT_ONCE,
        gates=SubmitGates(gates, deps.accounts.given, deps.may_claim, slots=SUBMITS_AT_ONCE),
        lease_ms=lease_ms,
    )
    poll_lane = LeasedWorker(
        Lane.POLL,
        arq_function_of(deps, poll_job),
        redis=redis,
        scripts=deps.scripts,
        max_jobs=POLLS_AT_ONCE,
        gates=SubmitGates(may_claim=deps.may_claim),
        lease_ms=lease_ms,
    )
    return [submit_lane, poll_lane]


def build_webhook_lane(deps: Dependencies) -> LeasedWorker:
    """Return the webhook lane; the reconciler keeps it supplied."""
    return LeasedWorker(
        Lane.WEBHOOK,
        arq_function_of(deps, send_webhook),
        redis=deps.delivery_queue.redis,
        scripts=deps.scripts,
        max_jobs=MAX_SENDS_AT_ONCE,
        gates=SubmitGates(may_claim=deps.may_claim),
        lease_ms=int(deps.lease_seconds * 1000),
    )
