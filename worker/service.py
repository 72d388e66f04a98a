"""Runs a worker process: the lanes, the reconciler, the HTTP port; drains on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import structlog

from shared.adapters.background import stop_tasks
from shared.adapters.health import serving
from shared.adapters.logs import set_up_logging
from shared.errors import DependencyDown
from shared.settings import Settings
from worker.bootstrap import Rooms, open_worker
from worker.claiming import LeasedWorker, forward_wake_ups
from worker.dispatch import dispatch_on_notify
from worker.lanes import build_lanes
from worker.reconciler import Reconciler

log = structlog.get_logger(__name__)

DRAIN_MARGIN_SECONDS = 10.0
"""Added to the request timeout: a POST in flight ends, and its reply is stored."""
_POLL_DRAIN_SECONDS = 3.0


def run_service(settings: Settings) -> None:
    """Run one worker until it is told to stop, then drain it."""
    set_up_logging(settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Open the worker, run it until SIGTERM or SIGINT, drain it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_worker(settings) as rooms:
        host, port = settings.worker_http_host, settings.worker_http_port
        async with serving(host, port, rooms.health.routes()) as real_port:
            log.info("worker_started", name=rooms.deps.worker_name, http=f"{host}:{real_port}")
            await _run_until(rooms, stop)
    log.info("worker_stopped")


async def _run_until(rooms: Rooms, stop: asyncio.Event) -> None:
    reconciler = Reconciler(rooms.deps)
    lanes = build_lanes(rooms.deps, reconciler)
    background = [
        asyncio.create_task(forward_wake_ups(rooms.deps.delivery.redis, lanes)),
        asyncio.create_task(dispatch_on_notify(rooms.servers.database_url, reconciler)),
        asyncio.create_task(_reconcile_at_start(reconciler)),
        *(asyncio.create_task(lane.run_until_cancelled()) for lane in lanes),
    ]
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, *background[3:]], return_when="FIRST_COMPLETED")
    if stopping in done:
        await _drain(rooms, lanes)
    await stop_tasks([stopping, *background])


async def _drain(rooms: Rooms, lanes: list[LeasedWorker]) -> None:
    submit_lane, poll_lane = lanes
    timeout_seconds = rooms.deps.settings.kie_request_timeout_seconds + DRAIN_MARGIN_SECONDS
    log.info("draining", timeout_seconds=timeout_seconds)
    # A poll can be asked again by anybody; a POST in flight is known to this process alone.
    await asyncio.gather(submit_lane.drain(timeout_seconds), poll_lane.drain(_POLL_DRAIN_SECONDS))


async def _reconcile_at_start(reconciler: Reconciler) -> None:
    try:
        await reconciler.run_once()
    except DependencyDown as error:
        log.warning("reconcile_put_off", error=str(error))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:  # uvloop has no build for every system; asyncio's own loop will do
        return None
    return uvloop.new_event_loop
