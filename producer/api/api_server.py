"""The `darkroom api` process, which serves the HTTP API on API_HOST and API_PORT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cache, partial
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from producer.api.access.direct_requests import is_loopback_host
from producer.api.access.listen_addresses import ListenAddresses, open_addresses
from producer.api.api_metrics import ApiMetrics
from producer.api.application import build_application
from producer.api.endpoint import ApiContext
from producer.api.openai_api.image_requests import OpenaiImages
from producer.api.openai_api.openai_routes import openai_endpoints
from producer.api.openai_api.result_images import open_result_images
from producer.api.openapi.docs_routes import document_routes
from producer.api.routes import ENDPOINTS
from producer.client import Producer
from producer.console.console_application import console_routes
from producer.console.image_sources import LOOPBACK_IMAGES
from producer.console.page import ConsoleContext
from producer.keys.key_store import KeyStore
from producer.keys.revocation_watch import RevocationWatch
from producer.keys.session_store import SessionStore
from producer.orders.order_batcher import OrderBatcher
from producer.results.stored_images import CopyOptions
from shared.adapters.async_tasks import stop_tasks
from shared.adapters.http.descriptor_limit import raise_descriptor_limit
from shared.adapters.http.forwarding import Forwarding
from shared.adapters.kie.kie_connection import choose_upload_access
from shared.adapters.monitoring.alert_monitor import AlertMonitor
from shared.adapters.monitoring.gauges import export_process_gauges
from shared.adapters.monitoring.health_endpoints import (
    SHARED_REDIS,
    HealthEndpoints,
    make_health_endpoints,
    make_readiness_checks,
    make_start_probes,
)
from shared.adapters.monitoring.incident_log import POSTGRES, REDIS, incidents
from shared.adapters.monitoring.push_channels import export_push_channels
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.processes.service_phase import ServicePhase
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.servers import Servers, open_servers
from shared.errors import DarkroomError
from shared.postgres_url import database_address
from shared.redis_url.redis_url import redis_address
from shared.settings import Settings, parse_image_hosts

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 20.0
"""How long requests in progress may take after the process receives SIGTERM or SIGINT."""
_WRITE_LAST_USED_SECONDS = 10.0
_OWN_CONNECTIONS_MAX = 4


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `ConfigurationError` and `PostgresDown`."""
    raise_descriptor_limit()
    phase = ServicePhase(settings.shutdown_delay_seconds)
    with phase.handling_signals():
        async with serving_api(settings, phase) as addresses:
            log.info("api_started", http=addresses[0])
            await phase.wait_for_stop()
            log.info("api_stopping", delay_seconds=phase.delay_seconds)
            await phase.wait_for_delay()
    log.info("api_stopped")


@asynccontextmanager
async def serving_api(
    settings: Settings, phase: ServicePhase | None = None
) -> AsyncIterator[list[str]]:
    """Serve while the block runs. Yields the listen addresses as `host:port`.

    Health probes are answered from the beginning. `phase` is the phase of this process.
    """
    phase = phase or ServicePhase()
    async with _open_addresses(settings, phase) as listeners, AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_servers(settings))
        database = await stack.enter_async_context(_connect_database(servers, settings))
        opening = connect_redis(servers.redis_url, connections=4, checks_server=True)
        redis = await stack.enter_async_context(opening)
        alert_watch = AlertMonitor(database, redis, settings.kie_account_names)
        connecting = _connect_producer(servers, settings, alert_watch)
        producer = await stack.enter_async_context(connecting)
        processes = ProcessRegistry(database, redis, _describe_process(servers))
        await stack.enter_async_context(processes.running())
        registry = CollectorRegistry()
        export_process_gauges(registry, processes)
        await stack.enter_async_context(alert_watch.running())
        checks = make_readiness_checks(database, DeliveryQueue(redis), processes)
        health = make_health_endpoints(
            # Without Redis, orders are taken: the reconciler of a worker delivers them.
            *(checks, registry, database, alert_watch, settings, phase),
            degrading=(REDIS, SHARED_REDIS),
        )
        export_push_channels(registry, (producer.push_path,))
        context = _make_context(producer, database, settings)
        console = ConsoleContext(context, database, alert_watch, _image_hosts(settings))
        images = await _open_images(stack, settings)
        app = _build_app(console, health, registry, images, settings.root_path)
        await _require_prices(producer)
        addresses = await stack.enter_async_context(listeners.serving(app, context.keys))
        await stack.enter_async_context(_run_key_tasks(context))
        phase.finish_start()
        try:
            yield addresses
        finally:
            phase.begin_stop()
            # End waits and streams now, and not at the end of the drain.
            context.stopping.set()
            await producer.events.close()


async def _open_images(stack: AsyncExitStack, settings: Settings) -> OpenaiImages:
    fetching = open_result_images(
        allow_loopback=_kie_is_local(settings), proxies=settings.outbound.proxies
    )
    images = await stack.enter_async_context(fetching)
    return OpenaiImages(images, wait_seconds=settings.openai_wait_seconds)


def _open_addresses(
    settings: Settings, phase: ServicePhase
) -> AbstractAsyncContextManager[ListenAddresses]:
    probes = make_start_probes(phase).probe_routes()
    forwarding = Forwarding(settings.root_path, settings.trusted_proxies)
    return open_addresses(
        settings.api_host,
        settings.api_port,
        phase,
        probes,
        forwarding,
        drain_seconds=DRAIN_SECONDS,
    )


def _describe_process(servers: Servers) -> Process:
    return Process(
        "api",
        redis=redis_address(servers.redis_url),
        database=database_address(servers.database_url),
    )


async def _require_prices(producer: Producer) -> None:
    """Log a warning if `pricing` is empty: every order would be refused."""
    if not await producer.billing.prices():
        log.warning("no_prices", why="pricing has no row, so every order is refused")


def _connect_producer(
    servers: Servers, settings: Settings, alert_watch: AlertMonitor
) -> AbstractAsyncContextManager[Producer]:
    return Producer.connect_to(
        servers,
        job_deadline_seconds=settings.job_deadline_seconds,
        charge_basis=settings.charge_basis,
        webhooks_allow_loopback=settings.webhooks_allow_loopback,
        outbound=settings.outbound,
        kie_account_names=settings.kie_account_names,
        copies=CopyOptions.of(settings).require_usable(),
        alerts=alert_watch.read,
        upload_access=partial(choose_upload_access, settings, servers),
        database_connections=settings.api_database_connections - _own_connections(settings),
    )


def _connect_database(
    servers: Servers, settings: Settings
) -> AbstractAsyncContextManager[Database]:
    return connect_database(
        servers.database_url,
        connections=_own_connections(settings),
        name="darkroom-api",
        clamps_timestamps=True,
    )


def _own_connections(settings: Settings) -> int:
    """Return how many connections keys, sessions and pages use. Orders use the others."""
    return max(1, min(_OWN_CONNECTIONS_MAX, settings.api_database_connections // 3))


def _make_context(producer: Producer, database: Database, settings: Settings) -> ApiContext:
    return ApiContext(
        producer,
        KeyStore(database),
        RevocationWatch(database),
        OrderBatcher(producer.enqueuer),
        SessionStore(database),
        viewers_see_prompts=settings.viewers_see_prompts,
        retention=settings.retention,
    )


def _build_app(
    console: ConsoleContext,
    health: HealthEndpoints,
    registry: CollectorRegistry,
    images: OpenaiImages,
    root_path: str,
) -> web.Application:
    """Return the application with the API, its document, the console and the health endpoints."""
    metrics = ApiMetrics(registry)
    extra_routes = [
        *health.routes(),
        *_document_routes(root_path),
        *console_routes(console, metrics),
    ]
    endpoints = (*ENDPOINTS, *openai_endpoints(images))
    return build_application(console.api, endpoints, metrics, extra_routes)


@cache
def _document_routes(root_path: str) -> list[web.RouteDef]:
    """Return the routes of the document, whose schemas take a tenth of a second to generate."""
    return document_routes(ENDPOINTS, root_path)


def _kie_is_local(settings: Settings) -> bool:
    """Return whether Kie is simulated on this machine, which serves its images itself."""
    is_bundled = settings.database_url is None and not settings.kie_keys
    return is_bundled or is_loopback_host(urlsplit(settings.kie_base_url).hostname or "")


def _image_hosts(settings: Settings) -> tuple[str, ...]:
    hosts = parse_image_hosts(settings.console_image_hosts)
    # With embedded servers Kie may be the simulator, which serves its images on this machine.
    return (*hosts, LOOPBACK_IMAGES) if hosts and settings.database_url is None else hosts


@asynccontextmanager
async def _run_key_tasks(context: ApiContext) -> AsyncIterator[None]:
    """Store the last uses of keys, and cancel streams and waits of revoked keys, in the block."""
    tasks = [
        asyncio.create_task(_write_last_used(context.keys)),
        asyncio.create_task(context.revocation_watch.run()),
    ]
    try:
        yield
    finally:
        await stop_tasks(tasks)


async def _write_last_used(keys: KeyStore) -> None:
    while True:
        await asyncio.sleep(_WRITE_LAST_USED_SECONDS)
        try:
            await keys.write_last_used()
        except DarkroomError as error:
            incidents.record_outage(error, doing="note_key_uses")
        else:
            incidents.record_recovery(POSTGRES)
