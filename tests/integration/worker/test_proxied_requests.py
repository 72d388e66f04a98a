"""Requests of ours through a proxy: to Kie, to receivers of webhooks, and for images."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.adapters.http.image_download import DownloadFailed, ImageDownloader
from shared.adapters.kie.file_uploads import FileUploads
from shared.adapters.kie.kie_connection import UploadAccess
from shared.catalog import KieRequest, KieResponse
from shared.domain.outbound_proxies import OutboundProxies, parse_exceptions, parse_proxy
from shared.errors import UploadFailed
from tests.fakes.fake_proxy import FakeProxy, proxying
from tests.fakes.fake_webhook_receiver import receiving
from tests.integration.worker.test_webhook_sending import INNER, ScriptedNames
from tests.support.ports import free_port
from worker.kie.http_exchange import KieHttp, NeverSent, ReplyLost
from worker.webhooks.http_sender import SendResult, WebhookSender

TLS = Path(__file__).parents[2] / "fixtures" / "tls"
PUBLIC = "93.184.216.34"
SUBMIT = KieRequest("POST", "/api/v1/gpt4o-image/generate", {}, {"prompt": "a cat"})


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    async with proxying(FakeProxy(user="ann", password="hush")) as proxy:
        yield proxy


def through(proxy: FakeProxy, direct: str = "") -> OutboundProxies:
    """Return the rules by which everything but `direct` goes through the proxy."""
    server = parse_proxy(proxy.url)
    return OutboundProxies(server, server, parse_exceptions(direct))


async def send(url: str, proxies: OutboundProxies, *addresses: str, **options: Any) -> SendResult:
    """Send one webhook; its host resolves to these addresses."""
    names = ScriptedNames(list(addresses))
    async with WebhookSender(
        resolver=names, proxies=proxies, timeout_seconds=2.0, **options
    ) as sender:
        return await sender.send(url, {"webhook-id": "msg_1"}, b"{}")


# --- webhooks ------------------------------------------------------------------------------------


@asynccontextmanager
async def tls_receiver() -> AsyncIterator[tuple[int, list[str], list[str | None]]]:
    """Run a receiver with the certificate of hooks.example. Yields its port, what it is sent, and
    the names that clients ask for in the handshake.
    """
    heads: list[str] = []
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "hooks.pem", TLS / "hooks.key")
    context.sni_callback = lambda _, name, __: names.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], heads, names


async def test_a_webhook_goes_through_a_tunnel_to_the_checked_address(proxy: FakeProxy) -> None:
    url = "https://hooks.example/a%2Fb?sig=%41+y"
    async with tls_receiver() as (port, heads, names):
        proxy.route = lambda _: ("127.0.0.1", port)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.worker.proxied_webhook"),
            *(url, PUBLIC, proxy.url),
            env={**os.environ, "SSL_CERT_FILE": str(TLS / "hooks.pem")},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert output == b"204 None\n"
    # The proxy is asked for the address and resolves nothing, so no name can change meanwhile.
    assert proxy.asked == [f"CONNECT {PUBLIC}:443"]
    assert names == ["hooks.example"]
    [head] = heads
    lines = head.splitlines()
    assert lines[0] == "POST /a%2Fb?sig=%41+y HTTP/1.1"
    assert "Host: hooks.example" in lines
    assert "hush" not in head
    assert "proxy-authorization" not in head.lower()


async def test_a_certificate_of_another_name_is_refused_in_the_tunnel(proxy: FakeProxy) -> None:
    async with tls_receiver() as (port, heads, _):
        proxy.route = lambda _: ("127.0.0.1", port)
        answer = await send("https://shop.example/", through(proxy), PUBLIC)
    assert "certificate verify failed" in (answer.error or "").lower()
    assert heads == []


@pytest.mark.parametrize("address", [one for one in INNER if one not in {"127.0.0.1", "::1"}])
async def test_the_proxy_is_not_asked_for_an_inner_address(proxy: FakeProxy, address: str) -> None:
    answer = await send("https://shop.example/", through(proxy), address)
    assert (answer.error or "").startswith("not sent: the host points at ")
    assert proxy.asked == []


async def test_of_several_addresses_an_allowed_one_is_taken(proxy: FakeProxy) -> None:
    proxy.status = 403
    addresses = ("2606:4700::1111", "10.0.0.1", PUBLIC)
    answer = await send("https://shop.example/", through(proxy), *addresses)
    assert proxy.asked == [f"CONNECT {PUBLIC}:443"]
    assert "403" in (answer.error or "")


async def test_an_http_receiver_is_not_left_to_the_proxy(proxy: FakeProxy) -> None:
    async with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        url = f"http://shop.example:{port}/"
        refused = await send(url, through(proxy), "127.0.0.1", allow_loopback=True)
        direct = await send(url, through(proxy, ".example"), "127.0.0.1", allow_loopback=True)
        local = await send(f"{receiver.url}/", through(proxy), allow_loopback=True)
        fallback = OutboundProxies(fallback=parse_proxy(proxy.url))
        by_all = await send(url, fallback, "127.0.0.1", allow_loopback=True)
    assert "through the proxy of ALL_PROXY, which" in (by_all.error or "")
    assert refused.error == (
        "not sent: the host is reached through the proxy of HTTP_PROXY, which would choose the"
        " address itself; use https://, or name the host in NO_PROXY"
    )
    assert (direct.is_accepted, local.is_accepted) == (True, True)
    assert proxy.asked == []


async def test_a_refusal_of_the_proxy_is_recorded_without_the_password(proxy: FakeProxy) -> None:
    wrong = OutboundProxies(https=parse_proxy(proxy.url.replace("hush", "hush-2")))
    answer = await send("https://shop.example/", wrong, PUBLIC)
    assert "407" in (answer.error or "")
    gone = OutboundProxies(https=parse_proxy(f"http://ann:hush@127.0.0.1:{free_port()}"))
    away = await send("https://shop.example/", gone, PUBLIC)
    assert (away.error or "").startswith("no answer: ")
    assert "hush" not in f"{answer} {away}"


# --- Kie -----------------------------------------------------------------------------------------


async def exchange(base_url: str, proxies: OutboundProxies) -> KieResponse | NeverSent | ReplyLost:
    async with KieHttp(
        base_url=base_url,
        api_key=SecretStr("a-key"),
        timeout_seconds=2,
        connections=2,
        proxies=proxies,
    ) as kie:
        return await kie.exchange(SUBMIT)


@pytest.mark.parametrize("status", [403, 407, 502, 503])
async def test_a_post_that_the_proxy_refuses_was_certainly_never_sent(
    proxy: FakeProxy, status: int
) -> None:
    proxy.status = status
    outcome = await exchange("https://kie.example", through(proxy))
    assert isinstance(outcome, NeverSent)
    assert str(status) in outcome.message
    assert proxy.asked == ["CONNECT kie.example:443"]
    assert "hush" not in outcome.message


async def test_a_post_through_no_proxy_or_a_broken_tunnel_was_never_sent(proxy: FakeProxy) -> None:
    gone = OutboundProxies(https=parse_proxy(f"127.0.0.1:{free_port()}"))
    assert isinstance(await exchange("https://kie.example", gone), NeverSent)
    # The tunnel leads to a server without TLS: no request was written.
    async with receiving() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        proxy.route = lambda _: ("127.0.0.1", port)
        outcome = await exchange("https://kie.example", through(proxy))
    assert isinstance(outcome, NeverSent)
    assert receiver.requests == []


async def test_a_post_over_plain_http_may_have_arrived_once_the_proxy_has_it(
    proxy: FakeProxy,
) -> None:
    async with receiving() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        proxy.route = lambda _: ("127.0.0.1", port)
        outcome = await exchange("http://kie.example", through(proxy))
        assert isinstance(outcome, KieResponse)
        direct = await exchange(receiver.url, through(proxy))
        assert isinstance(direct, KieResponse)
    assert proxy.asked == [f"POST http://kie.example{SUBMIT.path}"]
    assert len(receiver.requests) == 2


# --- images --------------------------------------------------------------------------------------


async def test_requests_go_through_the_proxy_of_all_proxy(proxy: FakeProxy) -> None:
    proxy.status = 403
    fallback = OutboundProxies(fallback=parse_proxy(proxy.url))
    assert isinstance(await exchange("https://kie.example", fallback), NeverSent)
    answer = await send("https://shop.example/", fallback, PUBLIC)
    assert "403" in (answer.error or "")
    assert proxy.asked == ["CONNECT kie.example:443", f"CONNECT {PUBLIC}:443"]


# --- what a proxy that does not do its part is told as ------------------------------------------

REFUSALS = {
    401: "check the user name and the password",  # tinyproxy answers so to a wrong password
    407: "check the user name and the password",
    403: "ask who runs it whether it permits this host and port",
    502: "ask who runs it whether it permits this host and port",
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("setting", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_a_refused_tunnel_names_the_setting_and_what_to_do_and_no_address(
    proxy: FakeProxy, setting: str, status: int
) -> None:
    proxy.status = status
    server = parse_proxy(proxy.url)
    proxies = OutboundProxies(https=server)
    if setting == "ALL_PROXY":
        proxies = OutboundProxies(fallback=server)
    sentences = [sentence async for sentence in failures(proxies)]
    assert len(sentences) == 4
    for sentence in sentences:
        assert f"the proxy of {setting} refuses the tunnel ({status} " in sentence
        assert sentence.endswith(REFUSALS[status])
        assert "127.0.0.1" not in sentence
        assert "hush" not in sentence


async def test_a_proxy_that_is_away_is_named_by_its_setting() -> None:
    proxies = OutboundProxies(https=parse_proxy(f"http://ann:hush@127.0.0.1:{free_port()}"))
    sentences = [sentence async for sentence in failures(proxies)]
    assert len(sentences) == 4
    for sentence in sentences:
        assert "the proxy of HTTPS_PROXY does not answer (Connection refused)" in sentence
        assert "127.0.0.1" not in sentence
        assert "hush" not in sentence


async def failures(proxies: OutboundProxies) -> AsyncIterator[str]:
    """Yield what is told of a submit, a webhook, an upload and a download."""
    outcome = await exchange("https://kie.example", proxies)
    assert isinstance(outcome, NeverSent)
    yield outcome.message
    answer = await send("https://shop.example/", proxies, PUBLIC)
    yield answer.error or ""
    access = UploadAccess("https://uploads.example", SecretStr("a-key"), proxies)
    async with FileUploads(access) as uploads:
        with pytest.raises(UploadFailed) as failed:
            await uploads.upload_small(b"x", "x.png", "image/png")
    yield str(failed.value)
    async with ImageDownloader(
        resolver=ScriptedNames([PUBLIC]), proxies=proxies, timeout_seconds=2
    ) as downloader:
        with pytest.raises(DownloadFailed) as lost:
            async with downloader.open("https://images.example/1.png"):
                pass
    yield str(lost.value)


async def test_uploads_go_through_the_proxy(proxy: FakeProxy) -> None:
    proxy.status = 403
    access = UploadAccess("https://uploads.example", SecretStr("a-key"), through(proxy))
    async with FileUploads(access) as uploads:
        with pytest.raises(UploadFailed, match="403") as raised:
            await uploads.upload_small(b"x", "x.png", "image/png")
    assert proxy.asked == ["CONNECT uploads.example:443"]
    assert "hush" not in str(raised.value)


async def test_downloads_go_through_a_tunnel_to_the_checked_address(proxy: FakeProxy) -> None:
    proxy.status = 403
    for address, told in ((PUBLIC, "403"), ("10.0.0.1", "points at 10.0.0.1")):
        async with ImageDownloader(
            resolver=ScriptedNames([address]), proxies=through(proxy), timeout_seconds=2
        ) as downloader:
            with pytest.raises(DownloadFailed, match=told):
                async with downloader.open("https://images.example/1.png"):
                    pass
    assert proxy.asked == [f"CONNECT {PUBLIC}:443"]
