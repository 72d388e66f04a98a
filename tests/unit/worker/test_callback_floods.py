"""A flood of callbacks or of health checks leaves connections to the jobs."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from shared.adapters.http.http_server import serve_http
from shared.adapters.monitoring.health_endpoints import HealthEndpoints
from shared.adapters.postgres.server_clock import ServerClock
from shared.adapters.processes.service_phase import ServicePhase
from worker.callbacks.receiver import QUERIES_AT_ONCE, USUAL_BODY_BYTES, CallbackReceiver

CALLERS = 40


class SlowQueries:
    """Answers no query before an event, and counts how many wait at once."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.waiting = self.most = self.asked = 0

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        return []

    async def fetch_row(self, query: str, *args: Any) -> None:
        self.asked += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.go_on.wait()
        self.waiting -= 1


@pytest.mark.parametrize("filling", [0, USUAL_BODY_BYTES], ids=["short", "long"])
async def test_callbacks_have_some_of_the_connections_to_postgres_only(filling: int) -> None:
    queries = SlowQueries()
    receiver = CallbackReceiver(queries, ServerClock(), None, lambda _: None)
    body = {"data": {"taskId": "t", "info": "x" * filling}}
    async with (
        serve_http("127.0.0.1", 0, receiver.routes()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):

        async def call(number: int) -> int:
            async with session.post(f"/callbacks/kie/token{number}", json=body) as answer:
                return answer.status

        calls = [asyncio.create_task(call(number)) for number in range(CALLERS)]
        async with asyncio.timeout(20):
            while queries.waiting < QUERIES_AT_ONCE:
                await asyncio.sleep(0.01)
        queries.go_on.set()
        assert set(await asyncio.gather(*calls)) == {404}
    assert (queries.most, queries.asked) == (QUERIES_AT_ONCE, CALLERS)


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
async def test_simultaneous_health_checks_share_one_check_of_the_servers(path: str) -> None:
    checks, arrived, go_on = 0, 0, asyncio.Event()

    async def check() -> None:
        nonlocal checks
        checks += 1
        await go_on.wait()

    def counted(route: web.RouteDef) -> web.RouteDef:
        async def handle(request: web.Request) -> Any:
            nonlocal arrived
            arrived += 1
            return await route.handler(request)

        return web.get(route.path, handle)

    phase = ServicePhase()
    phase.finish_start()
    health = HealthEndpoints(
        {"postgres": check}, CollectorRegistry(), check, phase, timeout_seconds=20
    )
    async with (
        serve_http("127.0.0.1", 0, map(counted, health.routes())) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):

        async def ask() -> int:
            async with session.get(path) as answer:
                return answer.status

        async with asyncio.timeout(20):
            first = asyncio.create_task(ask())
            while not checks:
                await asyncio.sleep(0.01)
            others = [asyncio.create_task(ask()) for _ in range(CALLERS)]
            while arrived < CALLERS + 1:
                await asyncio.sleep(0.01)
            leaver = others.pop()
            leaver.cancel()
            await asyncio.gather(leaver, return_exceptions=True)
            go_on.set()
            assert {await task for task in (first, *others)} == {200}
        assert checks == 1
        assert await ask() == 200
        assert checks == 2
