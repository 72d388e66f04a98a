"""Every code and every status that Kie may return to a poll."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from shared.catalog.families.gpt4o_image import FAMILY
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
    Unreadable,
)
from worker.kie.kie_client import KieClient

URL = "https://api.kie.ai/api/v1/gpt4o-image/record-info?taskId=ab12"
PICTURE = "https://tempfile.aiquickdraw.com/s/one.png"

BLOCKED = (401, 402, 403, 433)
SLOW_DOWN = (429, 455)
UNCLEAR = (400, 404, 409, 422, 451, 500, 502, 503, 504, 505, 520, 550)


async def poll(client: KieClient) -> PollOutcome:
    return await client.poll(FAMILY, "ab12")


def record(**fields: Any) -> dict[str, Any]:
    return {"code": 200, "msg": "success", "data": {"taskId": "ab12", **fields}}


def assert_row(number: int, verdict: PollOutcome) -> None:
    assert isinstance(verdict, NoVerdict)
    assert verdict.account_blocked is (number in BLOCKED)
    assert verdict.slow_down is (number in SLOW_DOWN)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "GENERATING", "successFlag": 0, "progress": "0.48"}, Pending(0.48)),
        (
            {"status": "SUCCESS", "successFlag": 1, "response": {"resultUrls": [PICTURE]}},
            Delivered((PICTURE,)),
        ),
        (
            {"status": "CREATE_TASK_FAILED", "successFlag": 2, "errorMessage": "try later"},
            TaskFailed("provider_failed", "try later"),
        ),
        (
            {"status": "GENERATE_FAILED", "successFlag": 3, "errorMessage": "internal error"},
            TaskFailed("provider_failed", "internal error"),
        ),
    ],
    ids=lambda value: value["status"] if isinstance(value, dict) else "",
)
async def test_200_with_each_documented_status_word(
    http: aioresponses, client: KieClient, fields: dict[str, Any], expected: PollOutcome
) -> None:
    http.get(URL, payload=record(**fields))
    assert await poll(client) == expected


@pytest.mark.parametrize("code", BLOCKED + SLOW_DOWN + UNCLEAR)
async def test_code_in_a_body_of_http_200_decides_nothing(
    http: aioresponses, client: KieClient, code: int
) -> None:
    http.get(URL, payload={"code": code, "msg": "what Kie says", "data": None})
    verdict = await poll(client)
    assert_row(code, verdict)
    assert isinstance(verdict, NoVerdict)
    assert f"{code}: what Kie says" in verdict.message


@pytest.mark.parametrize("status", BLOCKED + SLOW_DOWN + UNCLEAR)
async def test_http_status_with_the_same_code_decides_nothing(
    http: aioresponses, client: KieClient, status: int
) -> None:
    http.get(URL, status=status, payload={"code": status, "data": None})
    assert_row(status, await poll(client))


@pytest.mark.parametrize("status", [*BLOCKED, *SLOW_DOWN, *UNCLEAR, 408, 501])
async def test_http_status_with_a_body_that_is_not_json_decides_nothing(
    http: aioresponses, client: KieClient, status: int
) -> None:
    http.get(URL, status=status, body="error code: 1010", content_type="text/plain")
    assert_row(status, await poll(client))


@pytest.mark.parametrize("status", [200, "same"])
@pytest.mark.parametrize("code", [408, 501])
async def test_408_and_501_of_kie_itself_end_the_task(
    http: aioresponses, client: KieClient, code: int, status: int | str
) -> None:
    http.get(
        URL,
        status=code if status == "same" else 200,
        payload={"code": code, "msg": "upstream gave up", "data": None},
    )
    verdict = await poll(client)
    assert verdict == TaskFailed("provider_failed", f"Kie answered {code}: upstream gave up")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_success_inside_an_http_error_decides_nothing(
    http: aioresponses, client: KieClient, status: int
) -> None:
    body = record(successFlag=1, status="SUCCESS", response={"resultUrls": [PICTURE]})
    http.get(URL, status=status, payload=body)
    assert isinstance(await poll(client), NoVerdict)


async def test_a_success_under_code_501_is_unreadable(
    http: aioresponses, client: KieClient
) -> None:
    body = record(successFlag=1, response={"resultUrls": [PICTURE]}) | {"code": 501}
    http.get(URL, payload=body)
    assert isinstance(await poll(client), Unreadable)


@pytest.mark.parametrize("body", ["", "[]", "null", '"x"', "<html>", '{"code":200', "{}"])
async def test_200_with_an_unreadable_body_decides_nothing(
    http: aioresponses, client: KieClient, body: str
) -> None:
    http.get(URL, body=body)
    assert_row(200, await poll(client))


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(111, "refused"),
        aiohttp.ClientPayloadError("cut short"),
        ValueError("something new"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_answer_decides_nothing(
    http: aioresponses, client: KieClient, error: Exception
) -> None:
    http.get(URL, exception=error)
    assert_row(0, await poll(client))
