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
from worker.dependencies import Deps
from worker.kie.balance_check import CHECK_SECONDS, ProviderBalance
from worker.limits.submit_gates import Gates
from worker.limits.throttle import Throttled
from worker.poll_timing import backoff_seconds
from worker.queue.leased_worker import JobFunction, LeasedWorker, Snoozed
from worker.queue.periodic_work import Periodic, PeriodicWork
from worker.recovery.late_task_checks import LateTasks
from worker.recovery.lost_write_detection import compare_mark, keep_if_gone_back, keep_missing
from worker.recovery.reconciler import RECONCILE_SECONDS, Reconciler
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job
from worker.webhooks.http_sender import AT_ONCE as WEBHOOKS_AT_ONCE
from worker.webhooks.send_step import send_webhook

log = structlog.get_logger(__name__)

SUBMITS_AT_ONCE = 200
"""Each takes some 0.1 s of a busy worker, for the most part waiting for its turn to say something:
fifty would be 500 a second, fewer than it can send. Where Kie's limit holds, it holds first."""
POLLS_AT_ONCE = 1_000
"""Each waits some 0.2 s for Kie: a hundred would be 500 a second, too few for 10,000 tasks."""
_AFTER_A_BUG_SECONDS = 30.0
LATE_TASKS_SECONDS = 10.0
"""How often late tasks are looked for."""
_AFTER_THE_MOMENT_SECONDS = 0.005

Step = Callable[[Deps, UUID], Awaitable[float | None]]


def as_arq_function(deps: Deps, step: Step) -> JobFunction:
    """Return the arq function that runs this step: it snoozes, or it is done. It never fails."""

    async def run(_: dict[str, Any], job_id: str) -> None:
        try:
            known = UUID(job_id)
        except ValueError:
            log.warning("delivery_without_job", job_id=job_id[:80])
            return
        delay_seconds = await _run_step(deps, step, known)
        if delay_seconds is not None:
            raise Snoozed(delay_seconds)

    return run


async def _run_step(deps: Deps, step: Step, job_id: UUID) -> float | None:
    known = deps.store.memory.recall(job_id)
    try:
        delay_seconds = await step(deps, job_id)
    except Throttled as throttled:
        deps.metrics.throttled.labels(step.__name__).inc()
        return throttled.wait_seconds + deps.random.random() * 0.05
    except TooEarly as early:
        # By Postgres's clock, which decides. A moment later, because its statement takes one.
        return early.wait_seconds + _AFTER_THE_MOMENT_SECONDS
    except StaleJob as stale:
        log.info("stale_job", job_id=str(job_id), event_name=stale.event)
        if known is not None:
            await keep_if_gone_back(deps, known)
    except JobNotFound:
        log.warning("delivery_without_job", job_id=str(job_id))
        await keep_missing(deps, job_id, known)
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
            calm_seconds=2 * _AFTER_A_BUG_SECONDS,
            job_id=str(job_id),
            exc_info=True,
        )
        return _AFTER_A_BUG_SECONDS
    else:
        incidents.record_recovery(POSTGRES)
        incidents.record_success("step_failed", step.__name__)
        return delay_seconds
    return None


def build_periodic(deps: Deps, reconciler: Reconciler) -> list[Periodic]:
    """Return what the workers do at intervals: reconcile, check balances and late tasks."""
    balances = [ProviderBalance(deps, account) for account in deps.accounts]

    async def reconcile() -> None:
        await reconciler.run_once()
        await compare_mark(deps)
        incidents.record_recovery(POSTGRES, REDIS)

    async def check_balance(balance: ProviderBalance) -> None:
        try:
            await balance.check()
        except DependencyDown as down:
            incidents.record_outage(down, doing="check_balance")

    async def check_balances() -> None:
        await asyncio.gather(*map(check_balance, balances))

    works = (
        PeriodicWork("reconcile", RECONCILE_SECONDS, reconcile),
        PeriodicWork("check_balance", CHECK_SECONDS, check_balances),
        PeriodicWork("check_late_tasks", LATE_TASKS_SECONDS, LateTasks(deps).check_due),
    )
    return [
        Periodic(deps.delivery_queue.redis, work, deps.worker_name, deps.may_claim)
        for work in works
    ]


def build_lanes(deps: Deps) -> list[LeasedWorker]:
    """Return the submit lane and the poll lane."""
    gates = [account.gate(deps.submits.limit) for account in deps.accounts]
    lease_ms = int(deps.lease_seconds * 1000)
    redis = deps.delivery_queue.redis
    submit_lane = LeasedWorker(
        Lane.SUBMIT,
        as_arq_function(deps, submit_job),
        redis=redis,
        scripts=deps.scripts,
        max_jobs=SUBMITS_AT_ONCE,
        gates=Gates(gates, deps.accounts.given, deps.may_claim, slots=SUBMITS_AT_ONCE),
        lease_ms=lease_ms,
    )
    poll_lane = LeasedWorker(
        Lane.POLL,
        as_arq_function(deps, poll_job),
        redis=redis,
        scripts=deps.scripts,
        max_jobs=POLLS_AT_ONCE,
        gates=Gates(may_claim=deps.may_claim),
        lease_ms=lease_ms,
    )
    return [submit_lane, poll_lane]


def build_webhook_lane(deps: Deps) -> LeasedWorker:
    """Return the webhook lane; the reconciler keeps it supplied."""
    return LeasedWorker(
        Lane.WEBHOOK,
        as_arq_function(deps, send_webhook),
        redis=deps.delivery_queue.redis,
        scripts=deps.scripts,
        max_jobs=WEBHOOKS_AT_ONCE,
        gates=Gates(may_claim=deps.may_claim),
        lease_ms=int(deps.lease_seconds * 1000),
    )
