"""Opens every connection of the worker, builds `Dependencies`, and closes all in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from shared.adapters.http.image_download import ImageDownloader, is_loopback_url
from shared.adapters.kie.file_uploads import FileUploads
from shared.adapters.kie.kie_connection import (
    KieConnection,
    choose_kie,
    choose_upload_access,
)
from shared.adapters.monitoring.alert_monitor import TOLD_INTERVAL_SECONDS, AlertMonitor
from shared.adapters.monitoring.gauges import export_process_gauges
from shared.adapters.monitoring.health_endpoints import (
    HealthEndpoints,
    make_health_endpoints,
    make_readiness_checks,
)
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.postgres.server_clock import ServerClock, measure_clock
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.processes.service_phase import ServicePhase
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.results_store import open_results_store
from shared.adapters.servers import Servers, open_servers
from shared.postgres_url import database_address
from shared.redis_url.redis_url import redis_address
from shared.settings import Settings
from worker.batching.change_publisher import ChangePublisher, send_with
from worker.batching.poll_delivery import PollDeliveryBatch
from worker.batching.redis_scripts import RedisScripts
from worker.crash_points import crash_hook_for
from worker.dependencies import Dependencies
from worker.history_sampler import HistorySampler
from worker.kie.account_pool import KieAccount, KieAccountPool
from worker.kie.kie_client import KieClient
from worker.kie.surprise_log import SurpriseLog
from worker.limits.account_brake import AccountBrake
from worker.limits.account_concurrency import AccountConcurrency
from worker.limits.submit_gates import slots_per_account
from worker.limits.throttle import Throttle, poll_limit, submit_limit
from worker.metrics import Metrics, busy_rows_with_metrics
from worker.poll_timing.completion_times import CompletionTimes
from worker.poll_timing.overload import OverloadControl
from worker.queue.lanes import POLLS_AT_ONCE
from worker.queue.leased_worker import LEASE_MS
from worker.queue.pending_work import PendingWork
from worker.recovery.task_id_backup import TaskIdBackup
from worker.results.image_copies import ImageCopies
from worker.steps.poll_state import PollState
from worker.store.job_store import JobStore
from worker.webhooks.http_sender import WebhookSender

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_SECONDS = 0.3
"""How long a statement of one job waits for a lock. It uses a connection meanwhile."""
_SETTINGS_THAT_MUST_MATCH = (
    "kie_base_url",
    "kie_submits_per_10_seconds",
    "kie_polls_per_second_per_task",
    "charge_basis",
    "job_deadline_seconds",
    "results_url",
    "results_deadline_seconds",
    "unknown_limit_seconds",
)
"""Settings that decide a limit, a price or an end. All workers must have the same values."""


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """A worker that is ready to run."""

    deps: Dependencies
    database: Database
    servers: Servers
    health: HealthEndpoints
    processes: ProcessRegistry
    """The record of this process among the processes of this database."""
    phase: ServicePhase


@asynccontextmanager
async def open_worker(
    settings: Settings, phase: ServicePhase | None = None
) -> AsyncIterator[WorkerResources]:
    """Open everything that a worker needs, or raise what an operator must change."""
    phase = phase or ServicePhase()
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_servers(settings))
        provider = await choose_kie(settings, servers)
        database = await stack.enter_async_context(_connect(settings, servers))
        clock = await _open_clock(database)
        opening = connect_redis(servers.redis_url, connections=100, checks_server=True)
        redis = await stack.enter_async_context(opening)
        registry, pending = CollectorRegistry(), PendingWork()
        metrics = Metrics(registry)
        about = _describe_process(settings, servers)
        processes = await _open_registry(stack, about, database, redis, metrics, clock, pending)
        sender = await stack.enter_async_context(_webhook_sender(settings))
        scripts = await stack.enter_async_context(aclosing(RedisScripts(redis)))
        delivery_queue = DeliveryQueue(redis)
        publisher = _open_publisher(stack, scripts)
        submits, polls = _open_throttles(settings, scripts)
        export_process_gauges(registry, processes)
        deps = Dependencies(
            settings=settings,
            store=JobStore(database, busy_rows_with_metrics(registry)),
            delivery_queue=delivery_queue,
            poll_delivery=PollDeliveryBatch(delivery_queue),
            accounts=await _open_accounts(stack, settings, provider, scripts, metrics, database),
            submit_throttle=submits,
            poll_throttle=polls,
            poll_state=_new_poll_state(len(provider.keys)),
            metrics=metrics,
            clock=clock,
            random=Random(),  # noqa: S311
            sleep=asyncio.sleep,
            worker_name=processes.process.name,
            lease_seconds=LEASE_MS / 1000,
            task_id_backup=TaskIdBackup(redis, settings.darkroom_home),
            check_crash_point=crash_hook_for(settings.darkroom_crash_at),
            webhook_sender=sender,
            file_uploads=await _open_file_uploads(stack, settings, servers),
            publish_change=publisher.publish,
            job_ended=publisher.job_ended,
            may_claim=processes.shared_redis.may_claim,
            pending_work=pending,
        )
        await _start_background_work(stack, deps, redis)
        await _start_image_copies(stack, deps, provider)
        health = await _open_health(stack, deps, database, redis, registry, processes, phase)
        yield WorkerResources(deps, database, servers, health, processes, phase)


async def _open_registry(
    stack: AsyncExitStack,
    process: Process,
    database: Database,
    redis: Redis,
    metrics: Metrics,
    clock: ServerClock,
    pending: PendingWork,
) -> ProcessRegistry:
    processes = ProcessRegistry(
        *(database, redis, process), detail=metrics.counts, clock=clock, requests=pending
    )
    await stack.enter_async_context(processes.running())
    return processes


async def _open_health(
    stack: AsyncExitStack,
    deps: Dependencies,
    database: Database,
    redis: Redis,
    registry: CollectorRegistry,
    processes: ProcessRegistry,
    phase: ServicePhase,
) -> HealthEndpoints:
    watch = AlertMonitor(
        *(database, redis, deps.settings.kie_account_names),
        idle_interval_seconds=TOLD_INTERVAL_SECONDS,
    )
    deps.pending_work.call_on_change(
        watch.request_read, "reconcile", "events", "pauses", "processes"
    )
    await stack.enter_async_context(watch.running())
    checks = make_readiness_checks(database, deps.delivery_queue, processes)
    return make_health_endpoints(checks, registry, database, watch, deps.settings, phase)


def _webhook_sender(settings: Settings) -> WebhookSender:
    return WebhookSender(
        allow_loopback=settings.webhooks_allow_loopback,
        receivers=settings.outbound.receivers,
        proxies=settings.outbound.proxies,
    )


async def _open_file_uploads(
    stack: AsyncExitStack, settings: Settings, servers: Servers
) -> FileUploads:
    access = await choose_upload_access(settings, servers)
    return await stack.enter_async_context(FileUploads(access))


def _open_publisher(stack: AsyncExitStack, scripts: RedisScripts) -> ChangePublisher:
    publisher = ChangePublisher(send_with(scripts))
    stack.push_async_callback(publisher.close)
    return publisher


async def _start_background_work(stack: AsyncExitStack, deps: Dependencies, redis: Redis) -> None:
    """Start what each worker does by itself, beside its lanes."""
    deps.pending_work.call_on_change(deps.pauses.request_read, "pauses")
    deps.pending_work.call_on_change(deps.route_changes.request_read, "routes")
    planner = deps.poll_state.planner
    await stack.enter_async_context(CompletionTimes(deps.queries, planner))
    await stack.enter_async_context(OverloadControl(planner, deps.metrics.lag_factor))
    await stack.enter_async_context(HistorySampler(deps, redis))


async def _start_image_copies(
    stack: AsyncExitStack, deps: Dependencies, provider: KieConnection
) -> None:
    """Start copying images, where RESULTS_URL says where to."""
    url = deps.settings.results_store_url
    if url is None:
        return
    # The images of the simulator are on this machine.
    allow_loopback = is_loopback_url(provider.base_url)
    downloader = ImageDownloader(
        allow_loopback=allow_loopback, proxies=deps.settings.outbound.proxies
    )
    await stack.enter_async_context(downloader)
    copies = ImageCopies(deps, open_results_store(url), downloader)
    await stack.enter_async_context(copies.running())


def _new_poll_state(accounts: int) -> PollState:
    polls_per_account = slots_per_account(accounts, POLLS_AT_ONCE)
    return PollState(concurrency=AccountConcurrency(polls_per_account))


async def _open_clock(database: Database) -> ServerClock:
    clock = ServerClock()
    await measure_clock(database, clock)
    return clock


def _describe_process(settings: Settings, servers: Servers) -> Process:
    return Process(
        "worker",
        redis=redis_address(servers.redis_url),
        database=database_address(servers.database_url),
        limits={name.upper(): getattr(settings, name) for name in _SETTINGS_THAT_MUST_MATCH},
        keys=settings.kie_keys,
    )


def _open_throttles(settings: Settings, scripts: RedisScripts) -> tuple[Throttle, Throttle]:
    """Return the throttle of submits and the throttle of polls."""
    timeout_seconds = settings.kie_request_timeout_seconds
    submits = submit_limit(settings.kie_submits_per_10_seconds, timeout_seconds)
    polls = poll_limit(settings.kie_polls_per_second_per_task, timeout_seconds)
    return Throttle(scripts, submits), Throttle(scripts, polls)


def _connect(settings: Settings, servers: Servers) -> AbstractAsyncContextManager[Database]:
    return connect_database(
        servers.database_url,
        connections=settings.worker_database_connections,
        name="darkroom-worker",
        lock_timeout_seconds=LOCK_TIMEOUT_SECONDS,
    )


async def _open_accounts(
    stack: AsyncExitStack,
    settings: Settings,
    provider: KieConnection,
    scripts: RedisScripts,
    metrics: Metrics,
    database: Database,
) -> KieAccountPool:
    surprises = SurpriseLog(database, count=metrics.count_surprise)
    await stack.enter_async_context(surprises)
    accounts = []
    for one in provider.keys:
        client = KieClient(
            base_url=provider.base_url,
            api_key=one.key,
            timeout_seconds=settings.kie_request_timeout_seconds,
            proxies=settings.outbound.proxies,
            on_response=partial(metrics.count_kie_response, one.name),
            on_content=surprises.check,
        )
        kie = await stack.enter_async_context(client)
        brake = AccountBrake(scripts, one.name)
        metrics.accounts.track_brake_level(one.name, partial(getattr, brake, "highest_level"))
        accounts.append(KieAccount(one.name, kie, brake))
    return KieAccountPool(accounts, on_missing=metrics.accounts.set_key_missing)
