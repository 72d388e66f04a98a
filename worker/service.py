"""Runs a worker process: the lanes, the reconciler and the HTTP ports. Drains on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from shared.adapters.async_tasks import loop_factory, stop_if_cancelled, stop_tasks
from shared.adapters.http.descriptor_limit import raise_descriptor_limit
from shared.adapters.log_setup import set_up_logging
from shared.adapters.monitoring.incident_log import POSTGRES, REDIS, incidents
from shared.adapters.processes.service_phase import ServicePhase
from shared.adapters.redis.deliveries import Lane
from shared.domain.callback_url import is_unencrypted
from shared.errors import DependencyDown
from shared.settings import Settings
from worker.bootstrap import WorkerResources, open_worker
from worker.callbacks.callback_handler import CallbackHandler
from worker.callbacks.receiver import CallbackReceiver
from worker.http_ports import open_http_ports
from worker.queue.lanes import build_lanes, build_periodic, build_webhook_lane
from worker.queue.leased_worker import LeasedWorker
from worker.queue.postgres_notifications import LISTENER_CHECK, deliver_on_notify
from worker.queue.submit_feed import SubmitFeed
from worker.queue.wake_ups import forward_wake_ups, wake_lanes_with_deliveries
from worker.recovery.lost_write_detection import watch_lost_writes
from worker.recovery.pause_watch import PauseWatch
from worker.recovery.reconciler import Reconciler
from worker.recovery.route_watch import RouteWatch
from worker.webhooks.message_search import MessageSearch

log = structlog.get_logger(__name__)

DRAIN_MARGIN_SECONDS = 10.0
"""Added to the request timeout, so that a POST in flight ends and its reply is stored."""
_RETRY_START_SECONDS = 5.0
_POLL_DRAIN_SECONDS = 3.0
_GARBAGE_THRESHOLDS = (10_000, 10, 10)
_WEBHOOK_DRAIN_SECONDS = 5.0


def run_service(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT, then drain it."""
    set_up_logging(settings)
    raise_descriptor_limit()
    _raise_garbage_thresholds()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(settings))


def _raise_garbage_thresholds() -> None:
    """Search for reference cycles after ten thousand new objects, instead of Python's seven
    hundred.

    Nearly every object of a step is freed by its reference count. The searches used a large part of
    a busy worker's processor time and found nothing. Imported modules are never searched.
    """
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


async def serve(settings: Settings) -> None:
    """Open the worker, run it until SIGTERM or SIGINT, and drain it."""
    phase = ServicePhase(settings.shutdown_delay_seconds)
    with phase.handling_signals():
        async with open_worker(settings, phase) as resources, run_lanes(resources) as lane_tasks:
            stopping = asyncio.create_task(phase.wait_for_stop())
            await asyncio.wait([stopping, *lane_tasks], return_when="FIRST_COMPLETED")
            await stop_tasks([stopping])
    log.info("worker_stopped")


@asynccontextmanager
async def run_lanes(resources: WorkerResources) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run the lanes and the background tasks while the block runs, then drain. Yields the lanes'
    tasks.

    A lane's task ends only with an error, which is raised when the block is left.
    """
    deps, settings = resources.deps, resources.deps.settings
    handler = CallbackHandler(deps, resources.database)
    reconciler = Reconciler(deps, callbacks=handler)
    feed = SubmitFeed(deps, deps.accounts.braked_families)
    lanes = [*build_lanes(deps, feed), build_webhook_lane(deps)]

    def handle_if_shared(inbox_id: int) -> None:
        # Otherwise the callback stays in the inbox: the limits of its handling are in the shared
        # Redis.
        if deps.may_claim():
            handler.take(inbox_id)

    receiver = CallbackReceiver(
        resources.database,
        deps.clock,
        settings.kie_webhook_hmac_key,
        handle_if_shared,
        process_id=resources.processes.process.id,
    )
    phase = resources.phase
    async with open_http_ports(settings, resources.health, receiver, phase) as addresses:
        # Callbacks are stored from here on: Kie stops repeating one after some seconds.
        await resources.processes.wait_for_shared_redis()
        lane_tasks = [asyncio.create_task(lane.run_until_cancelled()) for lane in lanes]
        others = _start_background_tasks(resources, reconciler, lanes, feed)
        phase.finish_start()
        log.info("worker_started", name=deps.worker_name, **addresses)
        _warn_of_plain_callbacks(settings)
        try:
            yield lane_tasks
        finally:
            phase.begin_stop()
            # Callbacks are stored until a proxy has noticed that this worker stops.
            await asyncio.gather(_drain(settings, lanes), phase.wait_for_delay())
            await stop_tasks([*lane_tasks, *others])


def _warn_of_plain_callbacks(settings: Settings) -> None:
    base = settings.kie_callback_url
    if base is not None and settings.kie_keys and is_unencrypted(base, settings.kie_base_url):
        log.warning(
            "callbacks_unencrypted",
            meaning="KIE_CALLBACK_URL begins with http://: everybody on the way can read and send"
            " callbacks; use https://",
        )


def _start_background_tasks(
    resources: WorkerResources,
    reconciler: Reconciler,
    lanes: list[LeasedWorker],
    feed: SubmitFeed,
) -> list[asyncio.Task[None]]:
    """Start what runs beside the lanes: subscriptions, periodic work and the watches."""
    deps = resources.deps
    return [
        asyncio.create_task(one)
        for one in (
            forward_wake_ups(
                deps.delivery_queue,
                lanes,
                deps.metrics.wake_pushes,
                on_jobs_wait=deps.jobs_wait.set,
            ),
            wake_lanes_with_deliveries(deps.delivery_queue.redis, lanes),
            feed.run_until_cancelled(),
            deliver_on_notify(
                resources.servers.listening_url,
                reconciler,
                deps.pending_work.request_echo,
                deps.metrics.dispatch_pushes,
                LISTENER_CHECK,
                on_pause=deps.pauses.request_read,
                on_route=deps.route_changes.request_read,
                on_cancel=deps.poll_state.record_cancel_request,
            ),
            MessageSearch(
                reconciler.outbox,
                deps.metrics.dispatch_pushes,
                deps.pending_work,
                deps.job_ended,
                may_claim=deps.may_claim,
                now=deps.clock.now,
            ).run_until_cancelled(),
            PauseWatch(deps).run_until_cancelled(),
            RouteWatch(deps).run_until_cancelled(),
            _reconcile_at_start(reconciler),
            *(one.run_until_cancelled() for one in build_periodic(deps, reconciler)),
            watch_lost_writes(deps),
        )
    ]


async def _drain(settings: Settings, lanes: list[LeasedWorker]) -> None:
    timeout_seconds = settings.kie_request_timeout_seconds + DRAIN_MARGIN_SECONDS
    log.info("draining", timeout_seconds=timeout_seconds)
    # Any worker can repeat a poll or a webhook. Only this process knows a POST that is in flight.
    drain_seconds = {
        Lane.SUBMIT: timeout_seconds,
        Lane.POLL: _POLL_DRAIN_SECONDS,
        Lane.WEBHOOK: _WEBHOOK_DRAIN_SECONDS,
    }
    await asyncio.gather(*(lane.drain(drain_seconds[lane.lane]) for lane in lanes))


async def _reconcile_at_start(reconciler: Reconciler) -> None:
    """Reconcile until it succeeds once: only this worker reads the task ids in its home."""
    while True:
        try:
            await reconciler.run_once()
        except DependencyDown as error:
            incidents.record_outage(error, doing="reconcile")
        else:
            incidents.record_recovery(POSTGRES, REDIS)
            return
        stop_if_cancelled()
        await asyncio.sleep(_RETRY_START_SECONDS)
