"""One try over HTTP: to public addresses only, and without redirects."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.adapters.http.dns_resolver import ThreadedResolver
from shared.domain.allowed_receivers import parse_allowed_receivers
from tests.fakes.fake_webhook_receiver import (
    FakeWebhookReceiver,
    ReceivedWebhook,
    never_answer,
    receiving,
)
from worker.webhooks.http_sender import ANSWER_BYTES_READ, SendResult, WebhookSender

NOT_SENT = "not sent: the host points at {}, which is not public"
NAME_IT = "; it must be a public address of the internet, or WEBHOOKS_ALLOW must name it"
INNER = [
    *("127.0.0.1", "10.0.0.5", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0"),
    *("::1", "::ffff:127.0.0.1", "fd00:ec2::254", "fe80::1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
]


class ScriptedNames(AbstractResolver):
    """A name server that returns what the test sets, another address each time."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the next answer; the last one again and again."""
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


async def send(url: str, *, body: bytes = b"{}", **options: object) -> SendResult:
    """Send once, from a sender of its own."""
    async with WebhookSender(**{"timeout_seconds": 2.0, **options}) as sender:  # type: ignore[arg-type]
        return await sender.send(url, {"webhook-id": "msg_1"}, body)


# --- where it may go ---------------------------------------------------------------------------


@pytest.mark.parametrize("address", INNER)
async def test_a_public_name_that_resolves_to_an_inner_address_is_not_connected_to(
    receiver: FakeWebhookReceiver, address: str
) -> None:
    port = receiver.url.rpartition(":")[2]
    answer = await send(f"http://shop.example:{port}/", resolver=ScriptedNames([address]))
    assert not answer.is_accepted
    assert answer.status is None
    assert (answer.error or "").startswith("not sent: the host points at ")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "fd00::1"], ["169.254.169.254", "10.0.0.7", "fe80::1"]],
)
async def test_several_inner_addresses_are_told_as_one(addresses: list[str]) -> None:
    answer = await send("http://shop.example:9/", resolver=ScriptedNames(addresses))
    assert answer.error in {NOT_SENT.format(one) + NAME_IT for one in addresses}


async def test_of_several_addresses_the_allowed_one_is_sent_to(
    receiver: FakeWebhookReceiver,
) -> None:
    port = receiver.url.rpartition(":")[2]
    names = ScriptedNames(["169.254.169.254", "10.0.0.1", "127.0.0.1", "fd00:ec2::254"])
    receivers = parse_allowed_receivers("127.0.0.1")
    url = f"http://shop.example:{port}/"
    assert (await send(url, receivers=receivers, resolver=names)).is_accepted
    assert len(receiver.requests) == 1


async def test_a_name_whose_address_changes_gains_nothing(receiver: FakeWebhookReceiver) -> None:
    names = ScriptedNames(["203.0.113.9"], ["127.0.0.1"], ["10.0.0.1", "::1"])
    url = f"http://shop.example:{receiver.url.rpartition(':')[2]}/"
    async with WebhookSender(timeout_seconds=1, resolver=names) as sender:
        answers = [await sender.send(url, {}, b"{}") for _ in range(3)]
    assert [answer.is_accepted for answer in answers] == [False] * 3
    assert names.asked == ["shop.example"] * 3
    assert receiver.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "localhost", "0x7f.1"])
async def test_an_inner_host_is_not_resolved(receiver: FakeWebhookReceiver, host: str) -> None:
    names = ScriptedNames(["127.0.0.1"])
    answer = await send(f"http://{host}:{receiver.url.rpartition(':')[2]}/", resolver=names)
    assert (answer.error or "").startswith("not sent: the URL ")
    assert names.asked == []
    assert receiver.requests == []


async def test_the_development_setting_reaches_this_machine_by_address_and_by_name(
    receiver: FakeWebhookReceiver,
) -> None:
    port = receiver.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        assert (await send(f"http://{host}:{port}/", allow_loopback=True)).is_accepted
    assert len(receiver.requests) == 2


async def test_the_development_setting_opens_no_other_address() -> None:
    for address in sorted({*INNER} - {"127.0.0.1", "::1"}):
        answer = await send(
            "http://shop.example/", resolver=ScriptedNames([address]), allow_loopback=True
        )
        assert (answer.error or "").startswith("not sent: the host points at "), address


async def test_each_address_is_checked_with_the_host_of_its_own_request() -> None:
    receivers = parse_allowed_receivers("billing,.lan")
    names = ScriptedNames(["10.255.255.1"], ["10.255.255.1"], ["169.254.169.254"])
    async with WebhookSender(timeout_seconds=0.3, resolver=names, receivers=receivers) as sender:
        answers = [
            await sender.send(f"http://{host}:9/", {}, b"{}")
            for host in ("billing", "shop.example", "hooks.lan")
        ]
    refused = [(answer.error or "").startswith("not sent: the host") for answer in answers]
    assert refused == [False, True, True]


async def test_an_allowed_address_is_sent_to(receiver: FakeWebhookReceiver) -> None:
    port = receiver.url.rpartition(":")[2]
    receivers = parse_allowed_receivers("127.0.0.1")
    names = ScriptedNames(["127.0.0.1"])
    for host in ("127.0.0.1", "billing.internal", "shop.example"):
        url = f"http://{host}:{port}/"
        assert (await send(url, receivers=receivers, resolver=names)).is_accepted, host
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(
    receiver: FakeWebhookReceiver, status: int
) -> None:
    async def redirect(_: ReceivedWebhook) -> web.Response:
        places = ["http://169.254.169.254/latest/meta-data/", f"{receiver.url}/elsewhere"]
        headers = {"Location": places[status % 2]}
        return web.Response(status=status, headers=headers)

    receiver.answering = redirect
    answer = await send(receiver.url, allow_loopback=True)
    assert answer.status == status
    assert f"answered {status} to http://" in (answer.error or "")
    assert ": redirects are not followed" in (answer.error or "")
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("status", "location", "error"),
    [
        (
            *(308, "https://ann:hush@new.example/hook;s=hush?token=hush#hush"),
            "answered 308 to https://new.example/hook: redirects are not followed; change the URL",
        ),
        (
            *(301, "/v2/hook?token=hush"),
            "answered 301 to {url}/v2/hook: redirects are not followed; change the URL",
        ),
        (
            *(307, "//new.example/"),
            "answered 307 to http://new.example/: redirects are not followed",
        ),
        (302, None, "answered 302: redirects are not followed"),
        (301, "javascript:hush", "answered 301: redirects are not followed"),
        (308, "http://[hush", "answered 308: redirects are not followed"),
        (304, None, "answered 304: redirects are not followed"),
    ],
)
async def test_the_target_of_a_redirect_is_told_without_secrets(
    receiver: FakeWebhookReceiver, status: int, location: str | None, error: str
) -> None:
    async def redirect(_: ReceivedWebhook) -> web.Response:
        return web.Response(
            status=status, headers={} if location is None else {"Location": location}
        )

    receiver.answering = redirect
    answer = await send(receiver.url, allow_loopback=True)
    assert answer.error == error.format(url=receiver.url)
    assert "hush" not in answer.error


async def test_a_proxy_of_the_environment_is_not_used(
    receiver: FakeWebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, receiver.url)
    answer = await send("http://shop.example/", resolver=ScriptedNames(["10.0.0.1"]))
    assert (answer.error or "").startswith(NOT_SENT.format("10.0.0.1"))
    assert receiver.requests == []


async def test_cookies_of_one_receiver_are_not_kept(receiver: FakeWebhookReceiver) -> None:
    async def set_cookie(_: ReceivedWebhook) -> web.Response:
        return web.Response(headers={"Set-Cookie": "seen=1; Path=/"})

    receiver.answering = set_cookie
    async with WebhookSender(allow_loopback=True) as sender:
        for _ in range(2):
            await sender.send(receiver.url, {}, b"{}")
    assert [one.headers.get("cookie") for one in receiver.requests] == [None, None]


# --- what it brings along ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        *("/%0d%0aX-Evil:%201", "/?a=%0d%0aX-Evil:%201", "/%00", "/a%20b?c=%2F&d=%26"),
        *("/\N{LATIN SMALL LETTER E WITH ACUTE}?q=\N{HOT BEVERAGE}", "/?#frag%0d%0a"),
    ],
)
async def test_an_encoded_line_break_stays_encoded(
    receiver: FakeWebhookReceiver, tail: str
) -> None:
    assert (await send(receiver.url + tail, allow_loopback=True)).is_accepted
    (received,) = receiver.requests
    assert "x-evil" not in received.headers
    assert received.body == b"{}"


@pytest.mark.parametrize(
    "tail", ["/\r\nX-Evil: 1", "/\nX-Evil:1", "/?a=\r\n\r\nGET /x HTTP/1.1", "/\x00", "/ HTTP/1.0"]
)
async def test_a_raw_line_break_is_never_sent(receiver: FakeWebhookReceiver, tail: str) -> None:
    answer = await send(receiver.url + tail, allow_loopback=True)
    assert (answer.error or "").startswith("not sent: the URL must not contain")
    assert receiver.requests == []


async def test_a_signed_query_is_not_rewritten(
    receiver: FakeWebhookReceiver,
) -> None:
    query = "sig=a%2Fb%3D%3d&x=%41+y&empty=&z=~'()*"
    await send(f"{receiver.url}/A%2Fb//c/../d?{query}", allow_loopback=True)
    (received,) = receiver.requests
    assert received.query == query


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_taken(receiver: FakeWebhookReceiver, status: int) -> None:
    receiver.answer_in_turn(status)
    answer = await send(receiver.url, allow_loopback=True)
    assert (answer.status, answer.is_accepted) == (status, True)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
async def test_no_other_status_is_accepted(receiver: FakeWebhookReceiver, status: int) -> None:
    receiver.answer_in_turn(status)
    answer = await send(receiver.url, allow_loopback=True)
    assert (answer.status, answer.error) == (status, f"answered {status}")


async def test_an_answer_without_end_is_not_read(receiver: FakeWebhookReceiver) -> None:
    written = 0

    async def pour(received: ReceivedWebhook) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        response.headers["Content-Encoding"] = "gzip"
        await response.prepare(received.request)
        try:
            while True:
                await response.write(b"x" * 65_536)
                written += 65_536
        except (ConnectionError, asyncio.CancelledError):
            return response

    receiver.answering = pour
    began = monotonic()
    answer = await send(receiver.url, allow_loopback=True)
    assert answer.is_accepted
    assert monotonic() - began < 2
    # Beyond what was read there are the buffers of both sides.
    assert written < ANSWER_BYTES_READ + 16 * 1024 * 1024


async def test_an_answer_that_arrives_slowly_delays_no_other_request(
    receiver: FakeWebhookReceiver,
) -> None:
    async def drip(received: ReceivedWebhook) -> web.StreamResponse:
        response = web.StreamResponse(status=200)
        await response.prepare(received.request)
        await asyncio.sleep(3600)
        return response

    receiver.answering = drip
    answer = await send(receiver.url, allow_loopback=True, timeout_seconds=10.0)
    assert answer.is_accepted
    assert answer.seconds < 5


async def test_no_answer_is_given_up_in_time(receiver: FakeWebhookReceiver) -> None:
    receiver.answering = never_answer
    answer = await send(receiver.url, allow_loopback=True, timeout_seconds=0.3)
    assert (answer.status, answer.is_accepted) == (None, False)
    assert (answer.error or "").startswith("no answer within 0.")


async def test_a_missing_server_is_reported_in_a_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        answer = await send(url, allow_loopback=True)
    assert (answer.error or "").startswith("no answer: ")
    assert "127.0.0.1" in (answer.error or "")


async def test_an_answer_that_is_no_http_is_a_failure_of_its_own() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n" * 10)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await send(f"http://127.0.0.1:{port}/", allow_loopback=True)
    assert not answer.is_accepted
    assert len(answer.error or "") <= 220


async def test_names_are_looked_up_by_the_system() -> None:
    resolver = ThreadedResolver(2)
    found = await resolver.resolve("localhost", 80)
    await resolver.close()
    assert {one["host"] for one in found} <= {"127.0.0.1", "::1"}
    assert found
