"""Opens the listen addresses of the API.

From the start of the process, the configured address answers health probes. Other requests wait
for the end of the start, so a proxy that asks no probe fails none of them. Until the first API key
exists, they are served to direct requests of this machine alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import cast

import structlog
from aiohttp import web

from producer.api.access.direct_requests import is_loopback_host
from producer.api.openai_api.openai_errors import refuse_request
from producer.keys.key_store import KeyStore
from shared.adapters.async_tasks import stop_tasks
from shared.adapters.http.forwarding import Forwarding
from shared.adapters.http.http_connection import PROBE_CONNECTIONS, ConnectionLimits
from shared.adapters.http.http_server import LimitedRunner, LimitedServer, RequestGuard, listen
from shared.adapters.processes.service_phase import PROBE_PATHS, ServicePhase
from shared.errors import DependencyDown

log = structlog.get_logger(__name__)

LOOPBACK = "127.0.0.1"
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - recognised, not bound
_SETTING = "API_PORT"
KEY_CHECK_SECONDS = 1.0
"""The time between two checks for the first key, after which requests need a key."""
_RETRY_SECONDS = 2
START_WAIT_SECONDS = 10.0
"""How long a request waits for the end of the start."""


class ListenAddresses:
    """The listen addresses of one API process. Create it with `open_addresses`."""

    def __init__(
        self,
        host: str,
        phase: ServicePhase,
        forwarding: Forwarding,
        front: LimitedRunner,
        drain_seconds: float,
    ) -> None:
        self._host, self._phase, self._forwarding = host, phase, forwarding
        self._front, self._drain_seconds = front, drain_seconds
        self._server: asyncio.Future[LimitedServer] = asyncio.get_running_loop().create_future()
        """What serves the application, once the start is complete."""
        self._has_first_key = False

    @property
    def port(self) -> int:
        """The port of the configured address, also if a free one was chosen."""
        return int(self._front.addresses[0][1])

    @asynccontextmanager
    async def serving(self, app: web.Application, keys: KeyStore) -> AsyncIterator[list[str]]:
        """Serve the application while the block runs. Yields the addresses as `host:port`.

        If the configured address is not loopback and no key was ever created, the application is
        served on loopback alone. Raises `ConfigurationError` if the port is not available.
        """
        self._has_first_key = is_loopback_host(self._host) or await keys.has_any_key()
        runner = build_runner(
            app,
            drain_seconds=self._drain_seconds,
            phase=self._phase,
            guard=self._guard_without_key,
            forwarding=self._forwarding,
        )
        await runner.setup()
        port = self.port
        waiting: list[asyncio.Task[None]] = []
        try:
            if not self._has_first_key:
                await self._open_loopback(runner, port)
                waiting.append(asyncio.create_task(self._open_after_first_key(runner, keys, port)))
            server = cast("LimitedServer", runner.server)
            cast("LimitedServer", self._front.server).hand_over(server)
            self._server.set_result(server)
            yield [f"{self._host if self._has_first_key else LOOPBACK}:{port}"]
        finally:
            await stop_tasks(waiting)
            for site in list(self._front.sites):
                await site.stop()
            await asyncio.gather(runner.cleanup(), self._front.cleanup())

    async def wait_for_start(self, request: web.Request) -> web.StreamResponse:
        """Serve a request that arrived during the start, once the start is complete."""
        await asyncio.wait([self._server], timeout=START_WAIT_SECONDS)
        if self._server.done() and not self._server.cancelled():
            # The clone has no route yet. The application finds its own.
            return await self._server.result().respond(request.clone())
        detail = "this process is starting; /startupz says when it has started"
        refusal = refuse_request(request, 503, "starting", detail)
        refusal.headers["Retry-After"] = str(_RETRY_SECONDS)
        return refusal

    def give_up(self) -> None:
        """Refuse the requests that wait for the end of the start."""
        self._server.cancel()

    async def _open_loopback(self, runner: LimitedRunner, port: int) -> None:
        log.warning(
            "api_on_loopback_only",
            wanted=self._host,
            why="no API key was ever made: darkroom keys create --role admin",
        )
        if not any(address[0] == _ANY_ADDRESS for address in self._front.addresses):
            await listen(runner, LOOPBACK, port, settings=_SETTING)

    async def _open_after_first_key(self, runner: LimitedRunner, keys: KeyStore, port: int) -> None:
        while True:
            await asyncio.sleep(KEY_CHECK_SECONDS)
            if await _has_key(keys):
                break
        self._has_first_key = True
        for site in list(runner.sites):
            await site.stop()
        log.info("api_opened", http=f"{self._host}:{port}")

    def _guard_without_key(self, request: web.BaseRequest) -> web.Response | None:
        """Refuse requests of other machines until the first key exists, except health probes."""
        if self._has_first_key or request.path in PROBE_PATHS or _is_of_this_machine(request):
            return None
        detail = (
            "no API key exists, so only health probes are answered on this address: make a key with"
            " `darkroom keys create --role admin`"
        )
        return refuse_request(request, 401, "key_refused", detail)


@asynccontextmanager
async def open_addresses(
    host: str,
    port: int,
    phase: ServicePhase,
    probes: list[web.RouteDef],
    forwarding: Forwarding | None = None,
    *,
    drain_seconds: float,
) -> AsyncIterator[ListenAddresses]:
    """Listen while the block runs, and answer health probes until the application is served.

    `forwarding` describes the proxies in front of the API. Default: none. At the end no new
    connection is accepted, and requests in progress have `drain_seconds` to end.

    Raises `ConfigurationError` if the port is not available.
    """
    forwarding = forwarding or Forwarding()
    app = web.Application(middlewares=[_close_connection])
    front = build_runner(app, drain_seconds=drain_seconds, phase=phase, forwarding=forwarding)
    addresses = ListenAddresses(host, phase, forwarding, front, drain_seconds)
    app.add_routes([*probes, web.route("*", "/{path:.*}", addresses.wait_for_start)])
    await front.setup()
    try:
        await listen(front, host, port, settings=_SETTING)
        yield addresses
    finally:
        addresses.give_up()
        await front.cleanup()


@web.middleware
async def _close_connection(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Close each connection of the start, so that the next request is served by the application."""
    response = await handler(request)
    response.force_close()
    return response


async def _has_key(keys: KeyStore) -> bool:
    try:
        return await keys.has_any_key()
    except DependencyDown:
        return False


def _is_of_this_machine(request: web.BaseRequest) -> bool:
    """Return whether both ends of the connection are loopback addresses."""
    transport = request.transport
    if transport is None:
        return False
    names = [transport.get_extra_info(name) for name in ("sockname", "peername")]
    return all(isinstance(name, tuple) and _is_loopback(str(name[0])) for name in names)


def _is_loopback(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def build_runner(
    app: web.Application,
    *,
    drain_seconds: float,
    phase: ServicePhase | None = None,
    guard: RequestGuard = lambda _: None,
    forwarding: Forwarding | None = None,
) -> LimitedRunner:
    """Return the aiohttp runner of the API."""
    return LimitedRunner(
        app,
        name="api",
        refuse=refuse_request,
        phase=phase,
        guard=guard,
        forwarding=forwarding,
        limits=ConnectionLimits(probe_connections=PROBE_CONNECTIONS),
        # Cancel the handler of a caller who has disconnected.
        handler_cancellation=True,
        shutdown_timeout=drain_seconds,
    )
