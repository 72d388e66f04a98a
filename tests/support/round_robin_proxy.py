"""A reverse proxy that shares requests among servers, and asks each whether it is ready.

It forwards each request once. A request that a server does not answer is counted in `failures`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count

import aiohttp
from aiohttp import web

PROBE_SECONDS = 0.02
"""The time between two probes of a server."""


class RoundRobinProxy:
    """Forwards requests to the ready servers in turn."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turns = count()
        self._session = aiohttp.ClientSession()
        self.ready: set[int] = set()
        """The ports of the ready servers."""
        self.failures: list[str] = []
        self.port = 0

    async def watch(self, port: int) -> None:
        """Probe a server until cancelled."""
        while True:
            is_ready = False
            with suppress(aiohttp.ClientError):
                async with self._session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    is_ready = answer.status == 200
            (self.ready.add if is_ready else self.ready.discard)(port)
            await asyncio.sleep(PROBE_SECONDS)

    async def forward(self, request: web.Request) -> web.Response:
        """Forward one request, and return the response."""
        ready = [port for port in self._ports if port in self.ready]
        if not ready:
            self.failures.append("no server is ready")
            return web.Response(status=503)
        port = ready[next(self._turns) % len(ready)]
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in {"connection", "content-length", "transfer-encoding"}
        }
        try:
            async with self._session.request(
                request.method,
                f"http://127.0.0.1:{port}{request.raw_path}",
                data=await request.read() or None,
                headers=headers,
            ) as answer:
                return web.Response(
                    body=await answer.read(),
                    status=answer.status,
                    content_type=answer.content_type,
                )
        except aiohttp.ClientError as error:
            self.failures.append(f"{request.method} {request.path}: {error!r}")
            return web.Response(status=502)

    async def close(self) -> None:
        """Close the connections to the servers."""
        await self._session.close()


@asynccontextmanager
async def proxy_to(ports: Sequence[int]) -> AsyncIterator[RoundRobinProxy]:
    """Run a proxy to these ports of this machine."""
    proxy = RoundRobinProxy(ports)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", proxy.forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    probes = [asyncio.create_task(proxy.watch(port)) for port in ports]
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.port = int(runner.addresses[0][1])
        yield proxy
    finally:
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        await runner.cleanup()
        await proxy.close()
