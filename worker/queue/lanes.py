"""Builds the three lanes and the periodic work of a worker."""

from __future__ import annotations

import asyncio

from shared.adapters.monitoring.incident_log import POSTGRES, REDIS, incidents
from shared.adapters.redis.deliveries import Lane
from shared.errors import DependencyDown
from worker.dependencies import Dependencies
from worker.kie.balance_check import BALANCE_CHECK_SECONDS, BalanceCheck
from worker.limits.submit_gates import SubmitGates
from worker.queue.leased_worker import LeasedWorker
from worker.queue.periodic_work import PeriodicRunner, PeriodicWork
from worker.queue.step_runner import arq_function_of
from worker.recovery.late_task_checks import LateTaskChecks
from worker.recovery.lost_write_detection import (
    check_event_mark,
)
from worker.recovery.reconciler import RECONCILE_SECONDS, Reconciler
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job
from worker.webhooks.http_sender import MAX_SENDS_AT_ONCE
from worker.webhooks.send_step import send_webhook

SUBMITS_AT_ONCE = 200
"""Each takes 0.1 s of a busy worker, most of it waiting for the interval of a batch. With 50 a
worker would submit 500 a second, fewer than it can send. Where the limit of Kie applies, it applies
first."""
POLLS_AT_ONCE = 1_000
"""Each waits 0.2 s for Kie. With 100 a worker would poll 500 a second, too few for 10,000 tasks."""
LATE_TASK_CHECK_SECONDS = 10.0
"""How often late tasks are checked."""
SCHEDULED_PRICES_SECONDS = 10.0
"""How often scheduled prices are applied. Enqueues and settlements apply them too."""


def build_periodic(deps: Dependencies, reconciler: Reconciler) -> list[PeriodicRunner]:
    """Return the periodic work: reconcile, check balances and late tasks, apply prices."""
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

    async def apply_scheduled_prices() -> None:
        await deps.queries.fetch_row("apply_scheduled_prices")

    works = (
        PeriodicWork("reconcile", RECONCILE_SECONDS, reconcile),
        PeriodicWork("check_balance", BALANCE_CHECK_SECONDS, check_balances),
        PeriodicWork("check_late_tasks", LATE_TASK_CHECK_SECONDS, LateTaskChecks(deps).check_due),
        PeriodicWork("apply_scheduled_prices", SCHEDULED_PRICES_SECONDS, apply_scheduled_prices),
    )
    return [
        PeriodicRunner(deps.delivery_queue.redis, work, deps.worker_name, deps.may_claim)
        for work in works
    ]


def build_lanes(deps: Dependencies) -> list[LeasedWorker]:
    """Return the submit lane and the poll lane."""
    gates = deps.accounts.gates(deps.submit_throttle.limit)
    lease_ms = int(deps.lease_seconds * 1000)
    redis = deps.delivery_queue.redis
    submit_lane = LeasedWorker(
        Lane.SUBMIT,
        arq_function_of(deps, submit_job),
        redis=redis,
        scripts=deps.scripts,
        max_jobs=SUBMITS_AT_ONCE,
        gates=SubmitGates(gates, may_claim=deps.may_claim, slots=SUBMITS_AT_ONCE),
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
    """Return the webhook lane. The reconciler delivers to it."""
    return LeasedWorker(
        Lane.WEBHOOK,
        arq_function_of(deps, send_webhook),
        redis=deps.delivery_queue.redis,
        scripts=deps.scripts,
        max_jobs=MAX_SENDS_AT_ONCE,
        gates=SubmitGates(may_claim=deps.may_claim),
        lease_ms=int(deps.lease_seconds * 1000),
    )
