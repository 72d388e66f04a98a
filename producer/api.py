"""The `darkroom api` process: for now health and metrics, over API_HOST and API_PORT."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import structlog
from prometheus_client import CollectorRegistry

from shared.adapters.delivery import Delivery, connect_redis
from shared.adapters.health import Health, serving
from shared.adapters.postgres import connect_database
from shared.adapters.queue_gauges import QueueGauges
from shared.adapters.servers import open_servers
from shared.settings import Settings

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `ConfigurationError` and `PostgresDown`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_servers(settings))
        database = await stack.enter_async_context(
            connect_database(servers.database_url, connections=4, name="darkroom-api")
        )
        redis = await stack.enter_async_context(connect_redis(servers.redis_url, connections=4))
        registry = CollectorRegistry()
        health = Health(
            checks={"postgres": database.ping, "redis": Delivery(redis).ping},
            registry=registry,
            refresh=QueueGauges(registry, database).refresh,
        )
        serving_here = serving(settings.api_host, settings.api_port, health.routes())
        port = await stack.enter_async_context(serving_here)
        log.info("api_started", http=f"{settings.api_host}:{port}")
        await stop.wait()
    log.info("api_stopped")
