"""The credits left on the Kie account, or None when they cannot be known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from aioresponses import aioresponses

from worker.kie.kie_client import KieClient

URL = "https://api.kie.ai/api/v1/chat/credit"


@pytest.mark.parametrize(
    ("data", "expected"),
    [(100, "100"), (5916.25, "5916.25"), (60.62, "60.62"), (0, "0"), ("12.5", "12.5"), (-3, "-3")],
)
async def test_the_credit_is_exact(
    http: aioresponses, client: KieClient, data: Any, expected: str
) -> None:
    http.get(URL, payload={"code": 200, "msg": "success", "data": data})
    assert await client.credit() == Decimal(expected)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"code": 401, "msg": "You do not have access permissions"}'),
        (200, '{"code": 200, "data": null}'),
        (200, '{"code": 200, "data": true}'),
        (200, '{"code": 200, "data": "many"}'),
        (200, '{"code": 200, "data": "NaN"}'),
        (200, '{"code": 200, "data": {"credits": 5}}'),
        (500, '{"code": 200, "data": 5}'),
        (403, "error code: 1010"),
        (200, ""),
    ],
)
async def test_a_credit_that_cannot_be_known_is_none(
    http: aioresponses, client: KieClient, status: int, body: str
) -> None:
    http.get(URL, status=status, body=body)
    assert await client.credit() is None


async def test_no_answer_means_no_known_credit(http: aioresponses, client: KieClient) -> None:
    http.get(URL, exception=TimeoutError())
    assert await client.credit() is None
