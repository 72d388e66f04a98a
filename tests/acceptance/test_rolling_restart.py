"""How processes start and stop behind a proxy: probes, the delay, and a restart under load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any, cast
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from producer.api import serving_api
from producer.api.access.listen_addresses import ListenAddresses, open_addresses
from producer.keys.key_store import KeyStore
from shared.adapters.monitoring.health_endpoints import (
    HealthEndpoints,
    make_start_probes,
)
from shared.adapters.processes.service_phase import ServicePhase
from shared.errors import PostgresDown, RedisDown
from shared.settings import Settings
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually
from tests.support.ports import free_port
from tests.support.round_robin_proxy import proxy_to

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


@asynccontextmanager
async def starting(
    phase: ServicePhase,
) -> AsyncIterator[tuple[ListenAddresses, web.Application, aiohttp.ClientSession]]:
    """Open the addresses of an API whose start is not complete, and build an application."""

    async def jobs(request: web.Request) -> web.Response:
        return web.Response(text=f"served {request.match_info['list']}: {await request.text()}")

    app = web.Application()
    app.router.add_post("/v1/{list}", jobs)
    probes = make_start_probes(phase).probe_routes()
    async with (
        open_addresses("127.0.0.1", 0, phase, probes, drain_seconds=1) as addresses,
        aiohttp.ClientSession(f"http://127.0.0.1:{addresses.port}") as session,
    ):
        yield addresses, app, session


async def test_probes_answer_during_the_start_and_other_requests_wait_for_its_end() -> None:
    phase, keys = ServicePhase(), cast("KeyStore", OneKey())
    async with starting(phase) as (addresses, app, session):
        port = addresses.port
        assert await statuses(session, port) == {"/healthz": 200, "/readyz": 503, "/startupz": 503}
        early = asyncio.create_task(session.post("/v1/jobs", data="early"))
        await eventually(_has_requests(addresses, 4), "the request has arrived")
        assert not early.done()
        async with addresses.serving(app, keys):
            async with await early as answer:
                assert answer.headers["Connection"] == "close"
                assert await answer.text() == "served jobs: early"
            async with session.post("/v1/jobs", data="later") as answer:
                assert "Connection" not in answer.headers
                assert await answer.text() == "served jobs: later"
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post("/v1/jobs")


@pytest.mark.promise("starting")
async def test_a_start_that_fails_refuses_the_requests_that_wait() -> None:
    async with starting(ServicePhase()) as (addresses, _, session):
        early = asyncio.create_task(session.post("/v1/jobs", data="early"))
        await eventually(_has_requests(addresses, 1), "the request has arrived")
        addresses.give_up()
        async with await early as answer:
            assert (answer.status, answer.headers["Connection"]) == (503, "close")
            assert answer.headers["Retry-After"]
            problem = await answer.json(content_type=None)
    assert problem["type"] == "urn:darkroom:problem:starting"


def _has_requests(addresses: ListenAddresses, count: int) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        server = addresses._front.server
        return server is not None and server.requests_count == count

    return ask


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


async def test_an_api_that_starts_without_redis_takes_orders_and_says_degraded(
    deployment: Deployment,
) -> None:
    away = SecretStr(f"redis://127.0.0.1:{free_port()}")
    async with deployment.api(redis_url=away) as api:
        (await api.get("/startupz")).expect(200)
        told = (await api.get("/readyz")).expect(200)
        assert (told["status"], told["checks"]["postgres"]) == ("degraded", "ok")
        assert "Redis does not answer" in told["checks"]["redis"]
        job = (await api.post("/v1/jobs", order())).expect(202)
    async with deployment.worker():
        assert (await deployment.ended(UUID(job["id"]))).state == "succeeded"


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


async def call_until(stop: asyncio.Event, url: str, name: str, key: str | None) -> list[Any]:
    """Enqueue and read jobs until `stop` is set. Returns the statuses, of refusals the answers."""
    found: list[Any] = []
    async with aiohttp.ClientSession() as session:
        api = ApiClient(session, key)
        for turn in count():
            if stop.is_set():
                break
            placed = await api.post(f"{url}/v1/jobs", order(), Idempotency_Key=f"{name}-{turn}")
            found.append(202 if placed.status == 202 else repr(placed))
            if placed.status == 202:
                read = await api.get(f"{url}/v1/jobs/{placed.body['id']}", wait=0.05)
                found.append(200 if read.status == 200 else repr(read))
    return found


async def restart_under_load(
    settings: Settings,
    ports: Sequence[int],
    delay_seconds: float,
    *,
    url: str,
    key: str | None = None,
    is_in_use: Callable[[int], Awaitable[bool]],
) -> list[Any]:
    """Restart an API on each port, one after another, while callers use `url`.

    `is_in_use` tells how many of them the proxy uses. Returns the statuses of all requests, and of
    refused ones the answers.
    """

    async def start(stack: AsyncExitStack, port: int) -> ServicePhase:
        phase = ServicePhase(delay_seconds)
        changed = settings.model_copy(update={"api_port": port})
        await stack.enter_async_context(serving_api(changed, phase))
        return phase

    async def all_are_in_use() -> bool:
        return await is_in_use(len(ports))

    async with AsyncExitStack() as outer:
        running = []
        for port in ports:
            stack = await outer.enter_async_context(AsyncExitStack())
            running.append((stack, await start(stack, port)))
        await eventually(all_are_in_use, "all are in use")
        stop = asyncio.Event()
        callers = [
            asyncio.create_task(call_until(stop, url, str(number), key))
            for number in range(CALLERS)
        ]
        for port, (stack, phase) in zip(ports, running, strict=True):
            phase.receive_signal()
            await phase.wait_for_delay()
            await stack.aclose()
            await start(outer, port)
            await eventually(all_are_in_use, "the new one is in use")
        stop.set()
        return [status for one in await asyncio.gather(*callers) for status in one]


async def test_a_rolling_restart_of_two_apis_under_load_fails_no_request(
    deployment: Deployment,
) -> None:
    ports = [free_port(), free_port()]
    async with proxy_to(ports) as proxy:

        async def is_in_use(number: int) -> bool:
            return len(proxy.ready) == number

        answered = await restart_under_load(
            deployment.settings,
            ports,
            DELAY_SECONDS,
            url=f"http://127.0.0.1:{proxy.port}",
            is_in_use=is_in_use,
        )
    assert proxy.failures == []
    assert set(answered) == {200, 202}
    jobs = await deployment.run_sql("SELECT count(*) AS n FROM jobs")
    assert jobs[0]["n"] == answered.count(202) > 2 * CALLERS
