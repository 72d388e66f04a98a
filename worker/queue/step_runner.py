"""Runs one step: what it returns or raises becomes a snooze or the end of the delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog

from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.errors import DependencyDown, JobNotFound, RowBusy, StaleJob, TooEarly
from worker.backoff import backoff_seconds
from worker.dependencies import Dependencies
from worker.limits.throttle import Throttled
from worker.queue.delivery_run import UNCLAIMED, DeliveryRun
from worker.queue.leased_worker import ArqFunction, Snoozed
from worker.recovery.lost_write_detection import record_if_rolled_back, record_missing_job

log = structlog.get_logger(__name__)

_AFTER_BUG_SECONDS = 30.0
_TOO_EARLY_MARGIN_SECONDS = 0.005

Step = Callable[[Dependencies, UUID, DeliveryRun], Awaitable[float | None]]


def arq_function_of(deps: Dependencies, step: Step) -> ArqFunction:
    """Return the arq function of this step. It returns or raises `Snoozed`, and never fails."""

    async def run(ctx: dict[str, Any], job_id: str) -> None:
        try:
            parsed_id = UUID(job_id)
        except ValueError:
            log.warning("delivery_without_job", job_id=job_id[:80])
            return
        delay_seconds = await _run_step(deps, step, parsed_id, ctx.get("run", UNCLAIMED))
        if delay_seconds is not None:
            raise Snoozed(delay_seconds)

    return run


async def _run_step(deps: Dependencies, step: Step, job_id: UUID, run: DeliveryRun) -> float | None:
    cached = deps.store.cache.get(job_id)
    try:
        delay_seconds = await step(deps, job_id, run)
    except Throttled as throttled:
        deps.metrics.throttled.labels(step.__name__).inc()
        return throttled.wait_seconds + deps.random.random() * 0.05
    except TooEarly as early:
        # Postgres decides by its own clock. The margin is the time of its statement.
        return early.wait_seconds + _TOO_EARLY_MARGIN_SECONDS
    except StaleJob as stale:
        log.info("stale_job", job_id=str(job_id), event_name=stale.event)
        if cached is not None:
            await record_if_rolled_back(deps, cached)
    except JobNotFound:
        log.warning("delivery_without_job", job_id=str(job_id))
        await record_missing_job(deps, job_id, cached)
    except RowBusy as busy:
        # The busy row is logged once, and not for each job that waits for it.
        return busy.wait_seconds * (1 + 0.2 * deps.random.random())
    except DependencyDown as down:
        incidents.record_outage(down, doing=step.__name__, job_id=str(job_id))
        return backoff_seconds(2, deps.random.random())
    except Exception as error:
        # A bug must not remove the delivery: the job stays where it is, and the log has the error.
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
