"""A mistake of ours behind a route is logged, counted, and told to nobody."""

from __future__ import annotations

from typing import cast

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from producer.api.application import build_application
from producer.api.doors import Doors
from producer.api.endpoints import Call, Endpoint
from producer.api.metrics import ApiMetrics
from producer.api.rooms import Rooms
from producer.keys import ANYONE, Caller, KeyRing
from shared.errors import StaleJob


class OpenHouse:
    """Rooms behind which nothing is needed, and keys that let everybody in."""

    @property
    def keys(self) -> OpenHouse:
        return self

    async def is_configured(self) -> bool:
        return False

    async def recognise(self, _: str) -> Caller:
        return ANYONE


@pytest.mark.parametrize("mistake", [StaleJob("1", "claimed"), ZeroDivisionError("secret")])
async def test_it_is_500_with_its_id_and_nothing_of_the_mistake(mistake: Exception) -> None:
    async def stumble(_: Call) -> web.StreamResponse:
        raise mistake

    registry, house = CollectorRegistry(), OpenHouse()
    row = Endpoint(
        method="GET", path="/x", handler=stumble, name="x", summary="Stumble", tag="test"
    )
    app = build_application(cast("Rooms", house), [row], ApiMetrics(registry), [])
    with capture_logs() as logs:
        async with (
            Doors(app, "127.0.0.1", 0, cast("KeyRing", house)).open(drain_seconds=1) as addresses,
            aiohttp.ClientSession() as session,
            session.get(f"http://{addresses[0]}/x", headers={"X-Request-Id": "7"}) as answer,
        ):
            body = await answer.json(content_type=None)
    assert (answer.status, body["type"]) == (500, "urn:darkroom:problem:internal_error")
    assert "secret" not in str(body)
    assert [one["request_id"] for one in logs if one["event"] == "request_failed"] == ["7"]
    counted = {"operation": "x", "status": "500"}
    assert registry.get_sample_value("darkroom_api_requests_total", counted) == 1
