"""Every number that Kie may answer to a submit, as HTTP status, as `code`, and as both."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from shared.catalog.families.gpt4o_image import FAMILY, TextToImage
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    Refused,
    SubmitOutcome,
    TryLater,
    WrongEndpoint,
)
from worker.kie.kie_client import KieClient

URL = "https://api.kie.ai/api/v1/gpt4o-image/generate"
WORDS = "what Kie says"

ROWS = {
    400: Refused,
    401: AccountBlocked,
    402: AccountBlocked,
    403: AccountBlocked,
    404: Refused,
    422: Refused,
    429: TryLater,
    433: AccountBlocked,
    451: Refused,
    455: TryLater,
    505: Refused,
    550: TryLater,
    408: Ambiguous,
    409: Ambiguous,
    500: Ambiguous,
    501: Ambiguous,
    502: Ambiguous,
    503: Ambiguous,
    504: Ambiguous,
    520: Ambiguous,
}
# Without Kie's envelope these are about another server, not about the request.
NOT_KIES = dict.fromkeys((400, 404, 422, 451, 505), WrongEndpoint)
REASONS = {429: "rate_limited", 455: "maintenance", 550: "provider_full"}
REASONS |= dict.fromkeys((500, 501, 502, 503, 504, 520), "server_error")
REASONS |= dict.fromkeys((408, 409), "reply_lost")


async def submit(client: KieClient) -> SubmitOutcome:
    request = TextToImage(prompt="a lighthouse", aspect_ratio="3:2")
    return await client.submit(FAMILY, request, callback_url=None)


def assert_row(number: int, verdict: SubmitOutcome) -> None:
    assert type(verdict) is ROWS[number]
    if isinstance(verdict, Refused | AccountBlocked):
        assert verdict.code == number
    if isinstance(verdict, TryLater | Ambiguous):
        assert verdict.reason == REASONS[number]


async def test_200_with_a_task_id_is_accepted(http: aioresponses, client: KieClient) -> None:
    http.post(URL, payload={"code": 200, "msg": "success", "data": {"taskId": "ab12"}})
    assert await submit(client) == Accepted("ab12")


@pytest.mark.parametrize("code", ROWS)
async def test_code_in_a_body_of_http_200(http: aioresponses, client: KieClient, code: int) -> None:
    http.post(URL, payload={"code": code, "msg": WORDS, "data": None})
    verdict = await submit(client)
    assert_row(code, verdict)
    assert not isinstance(verdict, Accepted)
    assert f"{code}: {WORDS}" in verdict.message


@pytest.mark.parametrize("status", ROWS)
async def test_http_status_with_the_same_code_in_the_body(
    http: aioresponses, client: KieClient, status: int
) -> None:
    http.post(URL, status=status, payload={"code": status, "msg": WORDS, "data": None})
    assert_row(status, await submit(client))


@pytest.mark.parametrize("status", ROWS)
async def test_http_status_with_a_body_that_is_not_json(
    http: aioresponses, client: KieClient, status: int
) -> None:
    http.post(URL, status=status, body="<h1>no</h1>", content_type="text/html")
    verdict = await submit(client)
    if status in NOT_KIES:
        assert isinstance(verdict, WrongEndpoint)
    else:
        assert_row(status, verdict)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, 429),
        (503, 455),
        (502, 422),
        (500, 200),
        (422, 200),
        (429, 500),
        (429, 200),
        (302, 200),
    ],
)
async def test_http_status_and_code_that_disagree_are_ambiguous(
    http: aioresponses, client: KieClient, status: int, code: int
) -> None:
    http.post(URL, status=status, payload={"code": code, "data": {}})
    assert isinstance(await submit(client), Ambiguous)


@pytest.mark.parametrize(("status", "code"), [(400, 422), (429, 402), (403, 429)])
async def test_two_different_refusals_are_read_by_the_code(
    http: aioresponses, client: KieClient, status: int, code: int
) -> None:
    http.post(URL, status=status, payload={"code": code})
    assert_row(code, await submit(client))


@pytest.mark.parametrize("code", [422, 429, 402])
async def test_a_refusal_that_names_a_task_is_ambiguous(
    http: aioresponses, client: KieClient, code: int
) -> None:
    http.post(URL, payload={"code": code, "data": {"taskId": "ab12"}})
    assert isinstance(await submit(client), Ambiguous)


@pytest.mark.parametrize(
    "data",
    [
        *[None, {}, [], "ab12", {"taskId": ""}, {"taskId": "  "}, {"taskId": None}],
        *[{"taskId": 7}, {"taskId": ["ab"]}, {"taskId": "a\nb"}, {"taskId": "x" * 201}],
    ],
)
async def test_200_without_a_usable_task_id_is_ambiguous(
    http: aioresponses, client: KieClient, data: object
) -> None:
    http.post(URL, payload={"code": 200, "msg": "success", "data": data})
    verdict = await submit(client)
    assert isinstance(verdict, Ambiguous)
    assert verdict.reason == "reply_lost"


@pytest.mark.parametrize("body", ["", "[]", "null", "200", '"ok"', "<html>", '{"code":200', "{}"])
async def test_200_with_an_unreadable_body_is_ambiguous(
    http: aioresponses, client: KieClient, body: str
) -> None:
    http.post(URL, body=body)
    assert isinstance(await submit(client), Ambiguous)


@pytest.mark.parametrize("code", ["200", 200.0, " 200 "])
async def test_a_code_written_differently_is_read(
    http: aioresponses, client: KieClient, code: Any
) -> None:
    http.post(URL, payload={"code": code, "data": {"taskId": "ab12"}})
    assert await submit(client) == Accepted("ab12")


@pytest.mark.parametrize("code", [True, None, "ok", [200], 999, -1, 0])
async def test_a_code_that_means_nothing_is_ambiguous(
    http: aioresponses, client: KieClient, code: Any
) -> None:
    http.post(URL, payload={"code": code, "data": {"taskId": "ab12"}})
    assert isinstance(await submit(client), Ambiguous)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_says_where_it_points(
    http: aioresponses, client: KieClient, status: int
) -> None:
    target = "https://elsewhere.example/login"
    http.post(URL, status=status, headers={"Location": f"{target}?session=secret"})
    verdict = await submit(client)
    assert isinstance(verdict, WrongEndpoint)
    assert target in verdict.message
    assert "secret" not in verdict.message


async def test_a_name_that_does_not_resolve_is_tried_later(
    http: aioresponses, client: KieClient
) -> None:
    key: Any = aiohttp.client_reqrep.ConnectionKey("api.kie.ai", 443, True, True, None, None, None)
    error = aiohttp.ClientConnectorDNSError(key, OSError(-2, "Name or service not known"))
    http.post(URL, exception=error)
    verdict = await submit(client)
    assert isinstance(verdict, TryLater)
    assert verdict.reason == "unreachable"
    assert "Name or service not known" in verdict.message


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        aiohttp.SocketTimeoutError(),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.ClientPayloadError("cut short"),
        aiohttp.ClientConnectionError("closed"),
        ConnectionResetError(),
        ValueError("something new"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_after_sending_is_ambiguous(
    http: aioresponses, client: KieClient, error: Exception
) -> None:
    http.post(URL, exception=error)
    verdict = await submit(client)
    assert isinstance(verdict, Ambiguous)
    assert verdict.reason == "reply_lost"


async def test_a_cancelled_call_stays_cancelled(http: aioresponses, client: KieClient) -> None:
    http.post(URL, exception=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await submit(client)
