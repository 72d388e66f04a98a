"""Builds the three lanes and the periodic work of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from shared.adapters.monitoring.incident_log import POSTGRES, REDIS, incidents
from shared.adapters.redis.deliveries import Lane
from shared.errors import DependencyDown
from worker.dependencies import Dependencies
from worker.files.file_renewal import RENEWAL_SECONDS, FileRenewal
from worker.kie.balance_check import BALANCE_CHECK_SECONDS, BalanceCheck
from worker.kie.model_checks import CHECK_SECONDS, ModelChecks
from worker.limits.submit_gates import SubmitGates
from worker.pruning import PRUNING_SECONDS, Pruning
from worker.queue.leased_worker import LeasedWorker
from worker.queue.periodic_work import PeriodicRunner, PeriodicWork
from worker.queue.step_runner import Step, arq_function_of
from worker.queue.submit_feed import SubmitFeed
from worker.recovery.late_task_checks import LateTaskChecks
from worker.recovery.lost_write_detection import check_event_mark
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
IDLE_RECONCILE_SECONDS = 60.0
"""How often the reconciler looks, without open jobs, whether Redis was wiped."""
IDLE_BALANCE_CHECK_SECONDS = 300.0
"""How often the balances are checked without open jobs."""
LATE_TASK_CHECK_SECONDS = 10.0
"""How often late tasks are checked."""
SCHEDULED_PRICES_SECONDS = 10.0
"""How often scheduled prices are applied. Enqueues and settlements apply them too."""

TOTALS_SECONDS = 300.0
"""How often the totals of hours and days that have ended are written."""


def build_periodic(deps: Dependencies, reconciler: Reconciler) -> list[PeriodicRunner]:
    """Return the work that one of the workers does at an interval."""
    models = ModelChecks(
        deps.queries,
        next(iter(deps.accounts)).kie,
        monotonic=deps.clock.monotonic,
        sleep=deps.sleep,
    )
    reconcile = partial(_reconcile, deps, reconciler)
    check_balances = partial(
        _check_balances, [BalanceCheck(deps, account) for account in deps.accounts]
    )
    apply_prices = partial(deps.queries.fetch_row, "apply_scheduled_prices")
    check_late_tasks = LateTaskChecks(deps).check_due
    needed = deps.pending_work.needed
    is_open, late, prices = (needed[name] for name in ("reconcile", "late_tasks", "prices"))
    works = (
        PeriodicWork("reconcile", RECONCILE_SECONDS, reconcile, is_open, IDLE_RECONCILE_SECONDS),
        PeriodicWork(
            *("check_balance", BALANCE_CHECK_SECONDS, check_balances),
            needed=is_open,
            idle_seconds=IDLE_BALANCE_CHECK_SECONDS,
        ),
        PeriodicWork("check_late_tasks", LATE_TASK_CHECK_SECONDS, check_late_tasks, late),
        PeriodicWork("check_kie_models", CHECK_SECONDS, models.check),
        PeriodicWork("renew_files", RENEWAL_SECONDS, FileRenewal(deps).run),
        PeriodicWork("apply_scheduled_prices", SCHEDULED_PRICES_SECONDS, apply_prices, prices),
        PeriodicWork("sum_settlements", TOTALS_SECONDS, partial(_sum_settlements, deps)),
        PeriodicWork("pruning", PRUNING_SECONDS, Pruning(deps).run),
    )
    return [
        PeriodicRunner(deps.delivery_queue.redis, work, deps.worker_name, deps.may_claim)
        for work in works
    ]


async def _reconcile(deps: Dependencies, reconciler: Reconciler) -> None:
    if not deps.pending_work.is_quiet or await reconciler.redis_was_wiped():
        await reconciler.run_once()
        await check_event_mark(deps)
    incidents.record_recovery(POSTGRES, REDIS)


async def _check_balances(balances: Sequence[BalanceCheck]) -> None:
    await asyncio.gather(*map(_check_balance, balances))


async def _check_balance(balance: BalanceCheck) -> None:
    try:
        await balance.check()
    except DependencyDown as down:
        incidents.record_outage(down, doing="check_balance")


async def _sum_settlements(deps: Dependencies) -> None:
    while (await deps.queries.fetch("sum_settlements"))[0]["is_more"]:
        pass


def build_lanes(deps: Dependencies, feed: SubmitFeed) -> list[LeasedWorker]:
    """Return the submit lane, which `feed` fills, and the poll lane."""
    submit_gates = SubmitGates(
        deps.accounts.gates(deps.submit_throttle.limit),
        may_claim=deps.may_claim,
        slots=SUBMITS_AT_ONCE,
        on_claim=feed.record_claim,
    )
    submits = _build_lane(deps, Lane.SUBMIT, submit_job, SUBMITS_AT_ONCE, submit_gates)
    feed.wake_lane = submits.wake
    return [submits, _build_lane(deps, Lane.POLL, poll_job, POLLS_AT_ONCE)]


def build_webhook_lane(deps: Dependencies) -> LeasedWorker:
    """Return the webhook lane. The reconciler delivers to it."""
    return _build_lane(deps, Lane.WEBHOOK, send_webhook, MAX_SENDS_AT_ONCE)


def _build_lane(
    deps: Dependencies, lane: Lane, step: Step, most_at_once: int, gates: SubmitGates | None = None
) -> LeasedWorker:
    return LeasedWorker(
        lane,
        arq_function_of(deps, step),
        redis=deps.delivery_queue.redis,
        scripts=deps.scripts,
        max_jobs=most_at_once,
        gates=gates or SubmitGates(may_claim=deps.may_claim),
        lease_ms=int(deps.lease_seconds * 1000),
        wake_pushes=deps.metrics.wake_pushes,
    )
