"""How processes start and stop behind a proxy: probes, the delay, and a restart under load."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from producer.api import serving_api
from producer.api.access.listen_addresses import open_addresses
from shared.adapters.monitoring.health_endpoints import (
    HealthEndpoints,
    make_start_probes,
)
from shared.adapters.processes.service_phase import ServicePhase
from shared.errors import PostgresDown, RedisDown
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually
from tests.support.ports import free_port
from tests.support.round_robin_proxy import RoundRobinProxy, proxy_to

PROBES = ("/healthz", "/readyz", "/startupz")
CALLERS = 6
DELAY_SECONDS = 0.4


async def statuses(session: aiohttp.ClientSession, port: int) -> dict[str, int]:
    """Return the status of each probe. Each is requested on a new connection."""
    found = {}
    for path in PROBES:
        url, headers = f"http://127.0.0.1:{port}{path}", {"Connection": "close"}
        async with session.get(url, headers=headers) as answer:
            found[path] = answer.status
    return found


class OneKey:
    """A store with a key."""

    async def has_any_key(self) -> bool:
        return True


@pytest.mark.promise("starting")
async def test_probes_answer_before_the_start_is_complete_and_then_the_application_does() -> None:
    phase = ServicePhase()

    async def jobs(_: web.Request) -> web.Response:
        return web.Response(text="served")

    app = web.Application()
    app.router.add_get("/v1/jobs", jobs)
    opening = open_addresses("127.0.0.1", 0, phase, make_start_probes(phase).probe_routes())
    async with opening as listeners, aiohttp.ClientSession() as session:
        port = int(listeners.port)
        url = f"http://127.0.0.1:{port}/v1/jobs"
        assert await statuses(session, port) == {"/healthz": 200, "/readyz": 503, "/startupz": 503}
        async with session.get(url) as early:
            assert (early.status, early.headers["Connection"]) == (503, "close")
            assert early.headers["Retry-After"]
            assert (await early.json())["type"] == "urn:darkroom:problem:starting"
        keys: Any = OneKey()
        async with listeners.serving(app, keys, drain_seconds=1), session.get(url) as answer:
            assert await answer.text() == "served"
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ({}, (200, "ready")),
        ({"redis": RedisDown("away")}, (200, "degraded")),
        ({"redis": RedisDown("away"), "shared_redis": RedisDown("away")}, (200, "degraded")),
        ({"postgres": PostgresDown("away")}, (503, "not ready")),
        ({"postgres": PostgresDown("away"), "redis": RedisDown("away")}, (503, "not ready")),
    ],
)
async def test_an_api_is_degraded_without_redis_and_not_ready_without_postgres(
    failing: dict[str, Exception], expected: tuple[int, str]
) -> None:
    def check_of(name: str) -> Any:
        async def check() -> None:
            if name in failing:
                raise failing[name]

        return check

    async def refresh() -> None:
        return

    phase = ServicePhase()
    phase.finish_start()
    health = HealthEndpoints(
        {name: check_of(name) for name in ("postgres", "redis", "shared_redis")},
        CollectorRegistry(),
        refresh,
        phase,
        frozenset({"redis", "shared_redis"}),
    )
    body, status = await health._check_readiness()
    assert (status, body["status"]) == expected
    assert {name for name, told in body["checks"].items() if told != "ok"} == set(failing)
    phase.begin_stop()
    body, status = await health._check_readiness()
    assert (status, body["status"]) == (503, "stopping")


async def test_the_second_signal_skips_the_delay() -> None:
    phase = ServicePhase(delay_seconds=60)
    assert not phase.is_stopping
    phase.receive_signal()
    async with asyncio.timeout(5):
        await phase.wait_for_stop()
    waiting = asyncio.create_task(phase.wait_for_delay())
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    phase.receive_signal()
    async with asyncio.timeout(5):
        await waiting


async def _call_until(stop: asyncio.Event, proxy: RoundRobinProxy, number: int) -> list[int]:
    """Enqueue and read jobs until `stop` is set. Returns the statuses."""
    found = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{proxy.port}") as session:
        api = ApiClient(session)
        turn = 0
        while not stop.is_set():
            turn += 1
            placed = await api.post("/v1/jobs", order(), Idempotency_Key=f"{number}-{turn}")
            found.append(placed.status)
            if placed.status == 202:
                read = await api.get(f"/v1/jobs/{placed.body['id']}", wait=0.05)
                found.append(read.status)
    return found


async def test_a_rolling_restart_of_two_apis_under_load_fails_no_request(
    deployment: Deployment,
) -> None:
    ports = [free_port(), free_port()]

    async def start(stack: AsyncExitStack, port: int) -> ServicePhase:
        phase = ServicePhase(DELAY_SECONDS)
        settings = deployment.settings.model_copy(update={"api_port": port})
        await stack.enter_async_context(serving_api(settings, phase))
        return phase

    async with AsyncExitStack() as outer, proxy_to(ports) as proxy:
        running = []
        for port in ports:
            stack = await outer.enter_async_context(AsyncExitStack())
            running.append((stack, await start(stack, port)))
        await eventually(_are_ready(proxy, 2), "both are ready")
        stop = asyncio.Event()
        callers = [asyncio.create_task(_call_until(stop, proxy, one)) for one in range(CALLERS)]
        for port, (stack, phase) in zip(ports, running, strict=True):
            phase.receive_signal()
            await phase.wait_for_delay()
            assert proxy.ready == set(ports) - {port}
            await stack.aclose()
            await start(outer, port)
            await eventually(_are_ready(proxy, 2), "the new one is ready")
        stop.set()
        answered = [status for one in await asyncio.gather(*callers) for status in one]
    assert proxy.failures == []
    assert set(answered) == {200, 202}
    jobs = await deployment.run_sql("SELECT count(*) AS n FROM jobs")
    assert jobs[0]["n"] == answered.count(202) > 2 * CALLERS


def _are_ready(proxy: RoundRobinProxy, count: int) -> Any:
    async def ask() -> bool:
        return len(proxy.ready) == count

    return ask
