"""Serves `/healthz`, `/readyz` and `/metrics` over HTTP, on the API and on the worker alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.errors import ConfigurationError, DarkroomError

CHECK_TIMEOUT_SECONDS = 3.0

Check = Callable[[], Awaitable[None]]
Refresh = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Health:
    """What a process says about itself."""

    checks: Mapping[str, Check]
    """By name: each raises a `DarkroomError` while its dependency is away."""
    registry: CollectorRegistry
    refresh: Refresh
    """Called before each scrape, to bring gauges up to date."""
    timeout_seconds: float = CHECK_TIMEOUT_SECONDS
    """How long a check or the refresh may take."""

    def routes(self) -> list[web.RouteDef]:
        """Return the three routes."""
        return [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
        ]

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        names = list(self.checks)
        answers = await asyncio.gather(*(self._run(self.checks[name]) for name in names))
        body = dict(zip(names, answers, strict=True))
        is_ready = all(answer == "ok" for answer in answers)
        return web.json_response(
            {"status": "ready" if is_ready else "not ready", "checks": body},
            status=200 if is_ready else 503,
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.refresh()
        except (DarkroomError, TimeoutError):
            # Counters of this process are still worth reading while Postgres is away.
            pass
        body = generate_latest(self.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _run(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await check()
        except DarkroomError as error:
            return str(error)
        except TimeoutError:
            return f"no answer within {self.timeout_seconds:g} s"
        return "ok"


@asynccontextmanager
async def serving(host: str, port: int, routes: Iterable[web.RouteDef]) -> AsyncIterator[int]:
    """Serve these routes for as long as the block lasts; yields the port, chosen where it was 0.

    Raises `ConfigurationError` where the port cannot be had.
    """
    app = web.Application(client_max_size=64 * 1024)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port} ({error.strerror or error}): another process has"
                " the port; set API_PORT or WORKER_HTTP_PORT, or 0 for a free one"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
