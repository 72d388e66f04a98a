"""The outcomes of broken connections. The client never sends a request twice."""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest
from pydantic import SecretStr

from shared.catalog.families.gpt4o_image import FAMILY, TextToImage
from shared.domain.kie_outcomes import (
    Accepted,
    Ambiguous,
    NoVerdict,
    Pending,
    PollOutcome,
    SubmitOutcome,
    TryLater,
    WrongEndpoint,
)
from tests.fakes.kie_server import (
    Behaviour,
    hang_up,
    kie_server,
    raw_server,
    reply,
    reset,
    say,
    stall,
)
from worker.kie.http_exchange import BODY_BYTES_MAX
from worker.kie.kie_client import KieClient

CREATED = b'{"code":200,"msg":"success","data":{"taskId":"ab12"}}'
RUNNING = b'{"code":200,"data":{"successFlag":0,"progress":"0.5"}}'

Answers = list[tuple[str, str]]


def client_for(
    base_url: str,
    *,
    timeout_seconds: float = 5,
    answers: Answers | None = None,
) -> KieClient:
    def note(endpoint: str, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        if answers is not None:
            answers.append((endpoint, outcome))

    return KieClient(
        base_url=base_url,
        api_key=SecretStr("kie-key"),
        timeout_seconds=timeout_seconds,
        on_response=note,
    )


async def submit(client: KieClient) -> SubmitOutcome:
    request = TextToImage(prompt="a lighthouse", aspect_ratio="3:2")
    return await client.submit(FAMILY, request, callback_url="https://here.example/c/1")


async def poll(client: KieClient) -> PollOutcome:
    return await client.poll(FAMILY, "ab12")


BREAKS: dict[str, Behaviour] = {
    "hang up": hang_up,
    "reset": reset,
    "half a status line": say(b"HTTP/1.1 2"),
    "no HTTP at all": say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "half a body": say(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"code"'),
    "half a chunk": say(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"code"'),
    "broken gzip": say(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"
    ),
    "a huge header": say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}
each_break = pytest.mark.parametrize("behaviour", BREAKS.values(), ids=BREAKS)


@each_break
async def test_a_post_whose_answer_breaks_is_sent_once_and_ambiguous(behaviour: Behaviour) -> None:
    async with raw_server(behaviour) as server, client_for(server.base_url) as client:
        verdict = await submit(client)
    assert isinstance(verdict, Ambiguous)
    assert verdict.reason == "reply_lost"
    assert server.requests == ["POST /api/v1/gpt4o-image/generate HTTP/1.1"]


@each_break
async def test_a_get_whose_answer_breaks_is_sent_once_and_decides_nothing(
    behaviour: Behaviour,
) -> None:
    async with raw_server(behaviour) as server, client_for(server.base_url) as client:
        assert isinstance(await poll(client), NoVerdict)
    assert server.requests == ["GET /api/v1/gpt4o-image/record-info?taskId=ab12 HTTP/1.1"]


@pytest.mark.parametrize("behaviour", [hang_up, reset])
async def test_a_post_on_a_kept_connection_that_breaks_is_not_sent_again(
    behaviour: Behaviour,
) -> None:
    script = (reply(CREATED), behaviour, reply(CREATED))
    async with raw_server(*script) as server, client_for(server.base_url) as client:
        assert await submit(client) == Accepted("ab12")
        assert isinstance(await submit(client), Ambiguous)
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize("behaviour", [hang_up, reset])
async def test_a_get_on_a_kept_connection_that_breaks_is_not_sent_again(
    behaviour: Behaviour,
) -> None:
    # Exactly here aiohttp by itself opens a second connection and asks again, past the throttle.
    script = (reply(RUNNING), behaviour, reply(RUNNING))
    async with raw_server(*script) as server, client_for(server.base_url) as client:
        assert await poll(client) == Pending(0.5)
        assert isinstance(await poll(client), NoVerdict)
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize(
    "behaviour",
    [stall, reply(b"{", length=50)],
    ids=["no answer", "a body that never ends"],
)
async def test_no_answer_until_the_timeout_is_ambiguous(behaviour: Behaviour) -> None:
    answers: Answers = []
    async with (
        raw_server(behaviour) as server,
        client_for(server.base_url, timeout_seconds=1, answers=answers) as client,
    ):
        started = asyncio.get_running_loop().time()
        verdict = await submit(client)
        assert asyncio.get_running_loop().time() - started < 5
    assert isinstance(verdict, Ambiguous)
    assert "within 1 s" in verdict.message
    assert answers == [("submit", "timeout")]
    assert len(server.requests) == 1


async def test_a_refused_connection_is_tried_later() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        answers: Answers = []
        async with client_for(base_url, answers=answers) as client:
            verdict = await submit(client)
            assert isinstance(await poll(client), NoVerdict)
            assert await client.credit() is None
    assert isinstance(verdict, TryLater)
    assert verdict.reason == "unreachable"
    assert [outcome for _, outcome in answers] == ["unreachable"] * 3


async def test_a_tls_handshake_that_fails_names_a_wrong_endpoint() -> None:
    async def answer_in_plain_text(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_in_plain_text, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with client_for(f"https://127.0.0.1:{port}") as client:
            verdict = await submit(client)
            polled = await client.poll(FAMILY, "ab12")
    assert isinstance(verdict, WrongEndpoint)
    assert isinstance(polled, NoVerdict)
    assert polled.wrong_endpoint


async def test_a_tls_handshake_that_hangs_is_tried_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with client_for(f"https://127.0.0.1:{port}", timeout_seconds=0.2) as client:
            verdict = await submit(client)
    assert isinstance(verdict, TryLater)
    assert verdict.reason == "unreachable"
    assert "took too long" in verdict.message


async def test_a_cancelled_submit_stays_cancelled() -> None:
    arrived = asyncio.Event()

    async def keep_waiting(_: asyncio.StreamWriter) -> None:
        arrived.set()

    async with raw_server(keep_waiting) as server, client_for(server.base_url) as client:
        call = asyncio.create_task(submit(client))
        async with asyncio.timeout(5):
            await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_body_beyond_the_limit_is_not_read_to_its_end() -> None:
    answers: Answers = []
    async with kie_server() as kie, client_for(kie.base_url, answers=answers) as client:
        kie.will_answer({"code": 200, "data": {"taskId": "ab12"}, "pad": "x" * BODY_BYTES_MAX})
        assert isinstance(await submit(client), Ambiguous)
        kie.will_answer({"code": 200, "data": {"taskId": "ab12"}, "pad": "x" * 500_000})
        assert await submit(client) == Accepted("ab12")
    assert answers == [("submit", "unreadable"), ("submit", "200")]


async def test_a_small_body_that_unpacks_beyond_the_limit_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b"[" + b" " * (20 * BODY_BYTES_MAX) + b"]")
    async with (
        raw_server(reply(bomb, head=b"Content-Encoding: gzip\r\n")) as server,
        client_for(server.base_url) as client,
    ):
        assert isinstance(await poll(client), NoVerdict)


async def test_the_outcomes_are_counted_by_kies_own_number() -> None:
    answers: Answers = []
    async with kie_server() as kie, client_for(kie.base_url, answers=answers) as client:
        kie.will_answer({"code": 402, "msg": "short of credits"})
        await submit(client)
        kie.will_answer({"code": 200}, status=429)
        await poll(client)
        kie.will_answer({"code": 123_456})
        await poll(client)
        kie.will_answer_text("error code: 1010", status=403)
        await client.credit()
        kie.will_answer_text("")
        await client.credit()
    assert answers == [
        ("submit", "402"),
        ("poll", "429"),
        ("poll", "other"),
        ("credit", "403"),
        ("credit", "unreadable"),
    ]


async def test_a_client_that_is_not_open_says_how_to_open_it() -> None:
    client = client_for("http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="async with"):
        await poll(client)
    async with client:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        await poll(client)
