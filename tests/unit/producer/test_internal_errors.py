"""A bug in a handler is logged and counted, and the response has no details of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from producer.api.access.key_budgets import KeyBudgets
from producer.api.access.listen_addresses import open_addresses
from producer.api.api_metrics import ApiMetrics
from producer.api.application import build_application
from producer.api.endpoint import RESPONSE_TIMEOUT_SECONDS, ApiContext, Call, Endpoint, Handler
from producer.api.routes import ENDPOINTS
from producer.keys.key_store import LOCAL_ADMIN, Caller, KeyStore
from shared.adapters.processes.service_phase import ServicePhase
from shared.errors import DependencyDown, PostgresDown, RedisDown, RowBusy, StaleJob
from tests.support.api_client import ApiClient


class ClientWithoutKeys:
    """A context without servers, whose keys allow every request."""

    budgets = KeyBudgets()

    @property
    def keys(self) -> ClientWithoutKeys:
        return self

    async def has_any_key(self) -> bool:
        return False

    async def authenticate(self, _: str) -> Caller:
        return LOCAL_ADMIN


@asynccontextmanager
async def serving(
    handler: Handler, registry: CollectorRegistry, timeout_seconds: float = 5
) -> AsyncIterator[ApiClient]:
    """Serve one route that does this, at `/x`."""
    client = ClientWithoutKeys()
    row = Endpoint(
        method="GET",
        path="/x",
        handler=handler,
        name="x",
        summary="Stumble",
        tag="test",
        timeout_seconds=timeout_seconds,
    )
    app = build_application(cast("ApiContext", client), [row], ApiMetrics(registry), [])
    async with (
        open_addresses("127.0.0.1", 0, ServicePhase(), [], drain_seconds=1) as listeners,
        listeners.serving(app, cast("KeyStore", client)) as addresses,
        aiohttp.ClientSession(f"http://{addresses[0]}") as session,
    ):
        yield ApiClient(session)


@pytest.mark.promise("internal_error")
@pytest.mark.parametrize("mistake", [StaleJob("1", "claimed"), ZeroDivisionError("secret")])
async def test_it_is_500_with_its_id_and_nothing_of_the_mistake(mistake: Exception) -> None:
    async def stumble(_: Call) -> web.StreamResponse:
        raise mistake

    registry = CollectorRegistry()
    with capture_logs() as logs:
        async with serving(stumble, registry) as api:
            answer = await api.send("GET", "/x", headers={"X-Request-Id": "7"})
    assert (answer.status, answer.body["type"]) == (500, "urn:darkroom:problem:internal_error")
    assert "secret" not in str(answer.body)
    assert [one["request_id"] for one in logs if one["event"] == "request_failed"] == ["7"]
    counted = {"operation": "x", "status": "500"}
    assert registry.get_sample_value("darkroom_api_requests_total", counted) == 1


@pytest.mark.promise("redis_down", "dependency_down", "postgres_down", "row_busy")
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RedisDown("at 10.0.0.7: gone"), "redis_down", "/readyz"),
        (DependencyDown("at 10.0.0.7: gone"), "dependency_down", "/readyz"),
        (PostgresDown("at 10.0.0.7: gone", sqlstate="57P01"), "postgres_down", "57P01"),
        (RowBusy("account 'acme'", sqlstate="55P03"), "row_busy", "account 'acme'"),
    ],
)
async def test_a_server_that_is_down_is_503_with_retry_after(
    error: DependencyDown, code: str, said: str
) -> None:
    async def stumble(_: Call) -> web.StreamResponse:
        raise error

    async with serving(stumble, CollectorRegistry()) as api:
        answer = await api.get("/x")
    assert (answer.status, answer.body["type"]) == (503, f"urn:darkroom:problem:{code}")
    assert int(answer.headers["Retry-After"]) > 0
    assert said in answer.body["detail"]
    assert "10.0.0.7" not in answer.body["detail"]


@pytest.mark.promise("too_slow", "time for an answer")
async def test_what_takes_too_long_is_503_and_given_up() -> None:
    is_given_up = asyncio.Event()

    async def dawdle(_: Call) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            is_given_up.set()
        raise AssertionError

    async with serving(dawdle, CollectorRegistry(), 0.1) as api:
        answer = await api.get("/x")
        assert is_given_up.is_set()
    assert (answer.status, answer.body["type"]) == (503, "urn:darkroom:problem:too_slow")
    assert int(answer.headers["Retry-After"]) > 0
    quick = [one for one in ENDPOINTS if not one.supports_wait and one.uploads is None]
    assert {one.timeout_seconds for one in quick} == {RESPONSE_TIMEOUT_SECONDS}


@pytest.mark.promise("bad_request")
@pytest.mark.parametrize(
    "refusal", [web.HTTPBadRequest, web.HTTPExpectationFailed, web.HTTPNotAcceptable]
)
async def test_what_the_server_itself_refuses_is_400(refusal: type[web.HTTPException]) -> None:
    async def stumble(_: Call) -> web.StreamResponse:
        raise refusal

    async with serving(stumble, CollectorRegistry()) as api:
        answer = await api.get("/x")
    assert (answer.status, answer.body["type"]) == (400, "urn:darkroom:problem:bad_request")
