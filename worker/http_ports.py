"""The HTTP ports of the worker: health, metrics, and callbacks on the same port or their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from aiohttp import web

from shared.adapters.http.descriptor_limit import max_listener_connections
from shared.adapters.http.http_connection import (
    CONNECTIONS_MAX,
    PROBE_CONNECTIONS,
    ConnectionLimits,
)
from shared.adapters.http.http_server import serve_http
from shared.adapters.monitoring.health_endpoints import HealthEndpoints
from shared.adapters.processes.service_phase import ServicePhase
from shared.domain.callback_url import ROUTE
from shared.settings import Settings
from worker.callbacks.receiver import CallbackReceiver, kie_style_refusal

DESCRIPTORS_RESERVED = 768
"""Descriptors reserved for Postgres, Redis, webhooks and Kie: a worker opens more connections than
it accepts."""


@asynccontextmanager
async def open_http_ports(
    settings: Settings, health: HealthEndpoints, receiver: CallbackReceiver, phase: ServicePhase
) -> AsyncIterator[dict[str, str]]:
    """Listen while the block runs. Yields the addresses by name, as `host:port`.

    Where callbacks have a port of their own, no number of them uses the connections of `/healthz`.
    Raises `ConfigurationError` where a port is not available.
    """
    host, port = settings.worker_http_host, settings.worker_http_port
    free = max_listener_connections(DESCRIPTORS_RESERVED)
    if settings.callback_http_port is None:
        routes = [*health.routes(), *receiver.routes()]
        limits = ConnectionLimits(
            connections=min(CONNECTIONS_MAX, free), probe_connections=PROBE_CONNECTIONS
        )
        async with serve_http(
            host, port, routes, refuse=kie_style_refusal, limits=limits, phase=phase
        ) as real_port:
            yield {"http": f"{host}:{real_port}"}
        return
    limits = ConnectionLimits(connections=min(CONNECTIONS_MAX, max(1, free // 2)))
    with_probes = replace(limits, probe_connections=PROBE_CONNECTIONS)
    async with AsyncExitStack() as stack:
        real_port = await stack.enter_async_context(
            serve_http(
                host,
                port,
                [*health.routes(), web.post(ROUTE, _refuse_wrong_port)],
                refuse=kie_style_refusal,
                limits=with_probes,
                phase=phase,
                settings="WORKER_HTTP_PORT",
            )
        )
        callback_host = settings.callback_http_host or host
        callback_port = await stack.enter_async_context(
            serve_http(
                callback_host,
                settings.callback_http_port,
                receiver.routes(),
                name="callbacks",
                refuse=kie_style_refusal,
                limits=limits,
                phase=phase,
                settings="CALLBACK_HTTP_PORT",
            )
        )
        yield {"http": f"{host}:{real_port}", "callbacks": f"{callback_host}:{callback_port}"}


async def _refuse_wrong_port(_request: web.Request) -> web.Response:
    detail = "callbacks come on CALLBACK_HTTP_PORT here"
    return kie_style_refusal(None, 404, "not_found", detail)
