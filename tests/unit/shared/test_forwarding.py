"""What is believed of a proxy: the client's address, https, and the root path."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError
from yarl import URL

from shared.adapters.http.forwarding import Forwarding, client_address, client_network, is_https
from shared.adapters.http.http_connection import ConnectionLimits
from shared.adapters.http.http_server import LimitedRunner, listen
from shared.setting_checks.proxy_settings import read_networks, read_root_path
from shared.settings import Settings

Headers = Sequence[tuple[str, str]]
ROOT = Path(__file__).parents[3]
FOR = "X-Forwarded-For"
LOCAL = "127.0.0.0/8, 10.0.0.0/8, fd00::/8"


@asynccontextmanager
async def serving(
    forwarding: Forwarding, limits: ConnectionLimits | None = None
) -> AsyncIterator[str]:
    """Serve a page that tells what is known of the client. Yields its address."""

    async def tell(request: web.Request) -> web.Response:
        response = web.Response(
            text=f"{client_address(request)} {client_network(request)} {is_https(request)}"
            f" {request.path_qs}",
            headers={"Location": request.query.get("to", "/v1/jobs/1")},
        )
        response.set_cookie("notice", "x", path="/console")
        response.set_cookie("session", "x", path="/")
        response.set_cookie("__Host-x", "x", path="/", secure=True)
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", tell)
    runner = LimitedRunner(app, name="test", forwarding=forwarding, limits=limits)
    await runner.setup()
    try:
        await listen(runner, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("trusted", "headers", "expected"),
    [
        # Nobody is trusted.
        ("", [(FOR, "192.0.2.7"), ("X-Forwarded-Proto", "https")], "127.0.0.1 False"),
        # The peer is not the trusted proxy.
        ("10.0.0.0/8", [(FOR, "192.0.2.7")], "127.0.0.1 False"),
        (LOCAL, [], "127.0.0.1 False"),
        (
            LOCAL,
            [(FOR, "192.0.2.7"), ("X-Forwarded-Proto", "https")],
            "192.0.2.7 True",
        ),
        # The client wrote the first address, the trusted proxy the last.
        (LOCAL, [(FOR, "198.51.100.9, 192.0.2.7")], "192.0.2.7 False"),
        (LOCAL, [(FOR, "198.51.100.9, 192.0.2.7, 10.1.1.1")], "192.0.2.7 False"),
        (
            LOCAL,
            [(FOR, "198.51.100.9"), (FOR, "192.0.2.7")],
            "192.0.2.7 False",
        ),
        (LOCAL, [(FOR, "10.9.9.9, 10.1.1.1")], "10.9.9.9 False"),
        (LOCAL, [(FOR, "192.0.2.7:4711")], "192.0.2.7 False"),
        (LOCAL, [(FOR, "[2001:db8::5]:4711")], "2001:db8::5 False"),
        (LOCAL, [(FOR, "2001:db8::5")], "2001:db8::5 False"),
        (LOCAL, [(FOR, "unknown")], "127.0.0.1 False"),
        (LOCAL, [(FOR, "' OR 1=1, 10.1.1.1")], "10.1.1.1 False"),
        (LOCAL, [("X-Forwarded-Proto", "https, http")], "127.0.0.1 False"),
        (LOCAL, [("Forwarded", "for=192.0.2.7;proto=https")], "127.0.0.1 False"),
    ],
)
async def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    trusted: str, headers: Headers, expected: str
) -> None:
    async with (
        serving(Forwarding(proxies=read_networks(trusted))) as url,
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers) as answer,
    ):
        address, _, is_encrypted, _ = (await answer.text()).split()
    assert f"{address} {is_encrypted}" == expected


async def test_limits_count_the_64_of_an_ipv6_client_as_one() -> None:
    async with (
        serving(Forwarding(proxies=read_networks(LOCAL))) as url,
        aiohttp.ClientSession() as session,
        session.get(url, headers={"X-Forwarded-For": "2001:db8::5"}) as answer,
    ):
        assert (await answer.text()).split()[1] == "2001:db8::/64"


@pytest.mark.parametrize(("trusted", "most"), [("127.0.0.1", 4), ("", 2), ("10.0.0.0/8", 2)])
async def test_a_trusted_proxy_may_have_more_connections_than_one_client(
    trusted: str, most: int
) -> None:
    limits = ConnectionLimits(connections=4, peer_share_max=0.5)
    forwarding = Forwarding(proxies=read_networks(trusted))
    async with serving(forwarding, limits) as url, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(aiohttp.ClientSession()) for _ in range(4)]
        for session in sessions:
            async with session.get(url) as answer:
                assert answer.status == 200
        open_ones = 0
        for session in sessions:
            connector = session.connector
            assert isinstance(connector, aiohttp.TCPConnector)
            held = [one for pool in connector._conns.values() for one, _ in pool]
            await asyncio.sleep(0)
            open_ones += sum(one.is_connected() for one in held)
    assert open_ones == most


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/darkroom/v1/jobs?limit=1&x=%2F", "/v1/jobs?limit=1&x=%2F"),
        ("/v1/jobs?limit=1", "/v1/jobs?limit=1"),
        ("/darkroom", "/"),
        ("/darkroom?a=b", "/?a=b"),
        ("/darkroom/", "/"),
        ("/darkroomy/v1", "/darkroomy/v1"),
        ("/darkroom/darkroom/v1", "/darkroom/v1"),
        ("/v1/darkroom/x", "/v1/darkroom/x"),
        ("/darkroom/v1/accounts/a%2Fb", "/v1/accounts/a%2Fb"),
    ],
)
async def test_a_proxy_may_strip_the_root_path_or_pass_it_on(path: str, seen: str) -> None:
    async with (
        serving(Forwarding("/darkroom")) as url,
        aiohttp.ClientSession() as session,
        session.get(URL(f"{url}{path}", encoded=True)) as answer,
    ):
        assert (await answer.text()).split()[-1] == seen
        assert answer.headers["Location"] == "/darkroom/v1/jobs/1"
        cookies = {name: one["path"] for name, one in answer.cookies.items()}
    assert cookies == {"notice": "/darkroom/console", "session": "/darkroom", "__Host-x": "/"}


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("http://h.example/darkroom/v1/jobs?a=%2F", "/v1/jobs?a=%2F"),
        ("http://h.example/v1/jobs", "/v1/jobs"),
        ("HTTP://h.example:80/darkroom", "/"),
    ],
)
async def test_a_request_may_name_its_whole_url(target: str, seen: str) -> None:
    async with serving(Forwarding("/darkroom")) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
    assert answer.split()[-1] == seen


@pytest.mark.parametrize("to", ["https://example.com/x", "//example.com/x", "x"])
async def test_the_root_path_is_added_to_own_paths_alone(to: str) -> None:
    async with (
        serving(Forwarding("/darkroom")) as url,
        aiohttp.ClientSession() as session,
        session.get(url, params={"to": to}) as answer,
    ):
        assert answer.headers["Location"] == to


@pytest.mark.parametrize("folder", ["producer", "worker", "shared"])
def test_no_other_code_asks_a_request_for_its_peer_or_scheme(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        if file.name != "forwarding.py":
            found = re.findall(r"request\.(?:remote|secure|scheme)\b", file.read_text("utf-8"))
            assert not found, f"{file}: behind a proxy this is not the client's"


@pytest.mark.parametrize("path", ["/darkroom", "/a/b.c/d-e", "/~me"])
def test_a_root_path_is_a_plain_path(path: str) -> None:
    assert read_root_path(path) == read_root_path(f"{path}/") == path


@pytest.mark.parametrize(
    "path",
    ["darkroom", "/dark room", "/a//b", "/a/../b", "/.", "/v1", "/console/x", "/ü", "/%41", "/a?b"],
)
def test_other_root_paths_are_refused_with_what_is_allowed(path: str) -> None:
    with pytest.raises(ValidationError, match=r"such as /darkroom|path of the API itself"):
        Settings(api_root_path=path)
    assert (read_root_path(""), read_root_path("/")) == ("", "")


@pytest.mark.parametrize("value", ["proxy.internal", "10.0.0.1/8", "*", "10.0.0.0/33", "1.2.3"])
def test_trusted_proxies_are_addresses_and_ranges(value: str) -> None:
    with pytest.raises(ValidationError, match="allowed are such as"):
        Settings(api_trusted_proxies=value)


def test_the_root_path_is_that_of_the_public_url() -> None:
    assert Settings(api_public_url="https://example.com/darkroom/").root_path == "/darkroom"
    assert Settings(api_public_url="https://example.com").root_path == ""
    both = Settings(api_public_url="https://example.com/a", api_root_path="/a/")
    assert (both.root_path, both.public_url) == ("/a", "https://example.com/a")
    assert Settings(api_root_path="/a", api_port=1).public_url == "http://127.0.0.1:1/a"
    with pytest.raises(ValidationError, match="is not the path of API_PUBLIC_URL"):
        Settings(api_public_url="https://example.com", api_root_path="/a")
    with pytest.raises(ValidationError, match="path of the API itself"):
        Settings(api_public_url="https://example.com/v1")
