"""What the client sends, what it refuses to start with, and that the key stays in its header."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr

from shared.catalog.families.gpt4o_image import FAMILY, ImageToImage
from shared.domain.kie_outcomes import Accepted, Ambiguous, NoVerdict, Refused, TaskFailed
from shared.errors import ConfigurationError
from tests.fakes.kie_server import KieServer, kie_server, raw_server, say
from worker.kie.kie_client import MESSAGE_LENGTH_MAX, KieClient

KEY = "kie-0123456789abcdef-secret"
REQUEST = ImageToImage(image_urls=["https://example.com/cat.png"], aspect_ratio="1:1")


def client_for(base_url: str) -> KieClient:
    return KieClient(base_url=base_url, api_key=SecretStr(KEY), timeout_seconds=5)


async def test_a_submit_carries_the_key_a_name_and_the_familys_body() -> None:
    async with kie_server() as kie, client_for(kie.base_url + "/") as client:
        kie.will_answer({"code": 200, "data": {"taskId": "ab12"}})
        verdict = await client.submit(FAMILY, REQUEST, callback_url="https://here.example/c/1")
    assert verdict == Accepted("ab12")
    (sent,) = kie.received
    assert (sent.method, sent.path) == ("POST", "/api/v1/gpt4o-image/generate")
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.headers["User-Agent"].startswith("darkroom-queue/")
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.body["callBackUrl"] == "https://here.example/c/1"
    assert sent.body["filesUrl"] == ["https://example.com/cat.png"]


@pytest.mark.parametrize("task_id", ["ab12", "a b&c=d/../?#%2F", "任务"])
async def test_a_poll_asks_about_exactly_that_task(task_id: str) -> None:
    async with kie_server() as kie, client_for(kie.base_url) as client:
        await client.poll(FAMILY, task_id)
    (sent,) = kie.received
    assert (sent.method, sent.path) == ("GET", "/api/v1/gpt4o-image/record-info")
    assert dict(sent.query) == {"taskId": task_id}
    assert sent.body is None


async def test_cookies_of_an_answer_are_not_sent_back() -> None:
    async with kie_server() as kie, client_for(kie.base_url) as client:
        kie.will_answer({"code": 200, "data": 5}, headers={"Set-Cookie": "JSESSIONID=1"})
        await client.credit()
        await client.credit()
    assert "Cookie" not in kie.received[1].headers


async def test_a_redirect_is_not_followed() -> None:
    async with kie_server() as kie, client_for(kie.base_url) as client:
        kie.will_answer({"code": 200}, status=302, headers={"Location": "/elsewhere"})
        assert isinstance(await client.poll(FAMILY, "ab12"), NoVerdict)
    assert len(kie.received) == 1


def script_echoes(kie: KieServer, text: str) -> None:
    kie.will_answer({"code": 422, "msg": text})
    kie.will_answer({"code": 500, "msg": text})
    kie.will_answer_text(text, status=502)
    kie.will_answer({"code": 200, "data": {"successFlag": 2, "errorMessage": text}})
    kie.will_answer({"code": 200, "data": {"status": text}})
    kie.will_answer_text(text)


@pytest.mark.parametrize(
    "echo",
    [
        f"bad key {KEY}!",
        f"Bearer {KEY[:9]}\x00{KEY[9:]}",
        "x" * (MESSAGE_LENGTH_MAX - 30) + KEY + KEY,
    ],
)
async def test_an_echoed_key_never_reaches_a_message_or_the_log(
    echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with kie_server() as kie, client_for(kie.base_url) as client:
        script_echoes(kie, echo)
        verdicts = [
            *[await client.submit(FAMILY, REQUEST, callback_url=None) for _ in range(3)],
            *[await client.poll(FAMILY, "ab12") for _ in range(3)],
        ]
    expected = [Refused, Ambiguous, Ambiguous, TaskFailed, NoVerdict, NoVerdict]
    assert [type(verdict) for verdict in verdicts] == expected
    # Half a key, at the place where a message is cut, would be too much as well.
    for seen in (*map(repr, verdicts), repr(client), caplog.text):
        assert KEY[:12] not in seen


async def test_a_key_echoed_inside_a_broken_status_line_never_reaches_a_message() -> None:
    async with (
        raw_server(say(f"HTTP/1.1 {KEY}\r\n\r\n".encode())) as server,
        client_for(server.base_url) as client,
    ):
        assert KEY not in repr(await client.poll(FAMILY, "ab12"))


async def test_messages_are_one_short_line() -> None:
    async with kie_server() as kie, client_for(kie.base_url) as client:
        kie.will_answer({"code": 422, "msg": "one\r\ntwo\t\x1b[31mred\x00 \u202e" + "x" * 2_000})
        verdict = await client.submit(FAMILY, REQUEST, callback_url=None)
    assert isinstance(verdict, Refused)
    assert verdict.message.startswith("Kie answered 422: one two [31mred x")
    assert len(verdict.message) == MESSAGE_LENGTH_MAX
    assert verdict.message.isprintable()


@pytest.mark.parametrize(
    "base_url",
    [
        *("", "api.kie.ai", "ftp://api.kie.ai", "https://", "https://u:p@api.kie.ai"),
        *("https://api.kie.ai/api/v1", "https://api.kie.ai/api/v1/"),
    ],
)
def test_a_base_url_that_cannot_work_is_refused_at_once(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="KIE_BASE_URL"):
        client_for(base_url)


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel", "nul\0"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="KIE_API_KEY") as refusal:
        KieClient(base_url="https://api.kie.ai", api_key=SecretStr(key), timeout_seconds=5)
    assert not key or key not in str(refusal.value)
