"""The proxies of the environment: which is used, and what is told of one that cannot be."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx2
import pytest
from darkroom_client import (
    AsyncDarkroom,
    ConnectionFailed,
    Darkroom,
    DarkroomError,
    ProxyUnusable,
    RetryPolicy,
)
from darkroom_client.http.async_connection import AsyncConnection
from darkroom_client.http.calls import get_link
from darkroom_client.http.connection import Connection
from darkroom_client.http.exchange import Exchange
from darkroom_client.http.proxies import Proxies, ProxyServer, failed_through
from darkroom_client.testing import InMemoryDarkroom

AT_ONCE = RetryPolicy(tries=3, first_pause_seconds=0.0)
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@dataclass
class RefusingProxy:
    """Reads the head of each request, and refuses it."""

    status: str = "403 Forbidden"
    asked: list[str] = field(default_factory=list)
    """The first line of each request."""
    heads: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingProxy]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    refusing = RefusingProxy()
    with socket.create_server(("127.0.0.1", 0)) as server:
        refusing.port = server.getsockname()[1]

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    head = connection.recv(65536).decode()
                    if not head:
                        return
                    refusing.asked.append(head.partition(" HTTP/")[0])
                    refusing.heads.append(head)
                    connection.sendall(f"HTTP/1.1 {refusing.status}\r\n\r\n".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield refusing
        finally:
            socket.create_connection(("127.0.0.1", refusing.port)).close()
            thread.join()


def failure(url: str, retries: RetryPolicy = AT_ONCE) -> DarkroomError:
    """Return the error of a request to this URL."""
    with pytest.raises(DarkroomError) as failed:
        Darkroom(url, "key", retries=retries).prices()
    return failed.value


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"])
def test_a_tunnel_is_asked_of_the_proxy_with_its_password(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://ann:hu%2Fsh@127.0.0.1:{proxy.port}")
    error = failure("https://darkroom.example")
    assert str(error) == f"{variable.upper()}: the proxy refuses the tunnel: 403 Forbidden"
    # It would refuse again, so the request is sent once.
    assert proxy.asked == ["CONNECT darkroom.example:443"]
    assert "Proxy-Authorization: Basic YW5uOmh1L3No\r\n" in proxy.heads[0]  # ann:hu/sh
    assert "Bearer" not in proxy.heads[0]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_plain_request_is_given_to_the_proxy(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"127.0.0.1:{proxy.port}")
    assert "403 blank" in str(failure("http://darkroom.example"))
    assert proxy.asked == ["GET http://darkroom.example/v1/prices"]


def test_a_tunnel_that_fails_for_now_is_asked_for_again(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.status = "502 Bad Gateway"
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
    error = failure("https://darkroom.example")
    assert isinstance(error, ConnectionFailed)
    assert str(error) == "through the proxy of ALL_PROXY: ProxyError: 502 Bad Gateway"
    assert len(proxy.asked) == 3


@pytest.mark.parametrize(
    ("words", "is_final"),
    [
        ("Invalid username/password", True),
        ("Requested NO AUTHENTICATION REQUIRED from proxy server, but got None.", True),
        ("Proxy Server could not connect: Host unreachable.", False),
        ("407 Proxy Authentication Required", True),
        ("429 Too Many Requests", False),
        ("504 Gateway Timeout", False),
    ],
)
def test_what_a_proxy_would_refuse_again_is_told_at_once(words: str, is_final: bool) -> None:
    server = ProxyServer("ALL_PROXY", "socks5://ann:hush@proxy:1080")
    error = failed_through(server, httpx2.ProxyError(words))
    assert isinstance(error, ProxyUnusable if is_final else ConnectionFailed)
    assert words in str(error)
    assert (RetryPolicy().pause_seconds(error, 1) is None) == is_final


def test_a_proxy_that_is_away_is_named(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:hush@127.0.0.1:9")
    error = failure("https://darkroom.example")
    assert isinstance(error, ConnectionFailed)
    assert "through the proxy of HTTPS_PROXY: ConnectError: " in str(error)
    assert "hush" not in str(error)


UNUSABLE = {
    "socks5://ann:hush@proxy:1080": "is a SOCKS proxy, which needs another package",
    "SOCKS5H://ann:hush@proxy:1080": "is a SOCKS proxy, which needs another package",
    "socks://ann:hush@proxy:1080": "must begin with http://, https://, socks5:// or socks5h://",
    "socks4://ann:hush@proxy:1080": "must begin with http://",
    "ftp://ann:hush@proxy": "must begin with http://",
    "http://ann:1/hush@proxy:3128": "must end after its port, a number; write / ? # in a password",
    "http://ann:hush@proxy:port": "must end after its port",
    "ann:12#hush@proxy:3128": "must end after its port",
    "http://proxy:3128/hush": "must end after its port",
    "http://": "must name a host",
}


@pytest.mark.parametrize("text", UNUSABLE)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_one_error_that_names_the_variable(
    proxy: RefusingProxy,
    monkeypatch: pytest.MonkeyPatch,
    darkroom: InMemoryDarkroom,
    variable: str,
    text: str,
) -> None:
    monkeypatch.setattr("darkroom_client.http.proxies.find_spec", lambda name: None)
    monkeypatch.setenv(variable, text)
    with pytest.raises(ProxyUnusable) as refused:
        Darkroom("https://darkroom.example", "key")
    assert str(refused.value).startswith(f"{variable}: {UNUSABLE[text]}")
    assert refused.value.variable == variable
    with pytest.raises(ProxyUnusable, match=f"^{variable}: "):
        AsyncDarkroom("https://darkroom.example", "key")
    assert "hush" not in f"{refused.value!r} {refused.value}"
    # What needs no proxy is not disturbed by it: this machine, and the hosts of NO_PROXY.
    assert Darkroom(retries=AT_ONCE).account("test").balance == 1_000
    monkeypatch.setenv("NO_PROXY", "other.example darkroom.example")
    with Darkroom("https://darkroom.example", "key"):
        pass


def test_a_socks_proxy_is_used_where_its_package_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("darkroom_client.http.proxies.find_spec", lambda name: name)
    url = httpx2.URL("https://darkroom.example")
    chosen = Proxies({"all": "socks5h://proxy:1080"}).for_url(url)
    assert chosen is not None
    assert (chosen.variable, chosen.url) == ("ALL_PROXY", "socks5h://proxy:1080")


def test_a_link_that_goes_through_a_wrong_proxy_names_it(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "ftp://ann:hush@proxy")
    exchange = Exchange("http://127.0.0.1:9", None, 5.0, AT_ONCE)
    link = get_link("https://images.example/1.png")
    with pytest.raises(ProxyUnusable, match=r"^ALL_PROXY: must begin with "):
        Connection(exchange).download_link(link)
    with pytest.raises(ProxyUnusable, match=r"^ALL_PROXY: must begin with "):
        asyncio.run(AsyncConnection(exchange).download_link(link))


def test_this_machine_is_reached_without_the_proxy_of_the_environment(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch, darkroom: InMemoryDarkroom
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert Darkroom(retries=AT_ONCE).account("test").balance == 1_000
    named = darkroom.url.replace("127.0.0.1", "localhost")
    assert Darkroom(named, retries=AT_ONCE).account("test").balance == 1_000
    assert proxy.asked == []
