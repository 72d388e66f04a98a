"""The limits and refusals of a listener, and that no other code listens."""

from __future__ import annotations

import asyncio
import errno
import gzip
import re
import zlib
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from shared.adapters.http.descriptor_limit import max_listener_connections
from shared.adapters.http.http_connection import CONNECTIONS_MAX, ConnectionLimits, peer_of
from shared.adapters.http.http_server import listen
from shared.adapters.monitoring.incident_log import incidents
from shared.settings import Settings
from tests.unit.shared.listeners import Connection, listener
from tests.unit.shared.test_http_connection import GET, post
from worker.http_ports import DESCRIPTORS_RESERVED
from worker.webhooks.http_sender import MAX_SENDS_AT_ONCE as WEBHOOKS_AT_ONCE

ROOT = Path(__file__).parents[3]
OTHER, THIRD = "127.0.0.2", "127.0.0.3"


@pytest.fixture(autouse=True)
def _no_incidents() -> None:
    incidents.clear()


# --- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", GET[:20], post("/echo", 100) + b"x"])
async def test_the_connection_that_waits_longest_is_closed_for_a_new_one(sent: bytes) -> None:
    async with listener(connections=4, peer_share_max=1) as one:
        waiting = []
        for number in range(4):
            waiting.append(await one.connect())
            await waiting[-1].send(sent)
            await one.has_open(number + 1)
        for first in waiting[:3]:
            honest = await one.connect()
            await honest.send(GET)
            assert (await honest.answer())[0] == 200
            await first.ended()
        assert one.server.open_connections == 4


async def test_at_its_part_an_address_loses_its_own_longest_wait() -> None:
    async with listener(connections=6, peer_share_max=0.5) as one:
        neighbour = await one.connect(THIRD)
        await one.has_open(1)
        crowd = []
        for number in range(3):
            crowd.append(await one.connect(OTHER))
            await one.has_open(2 + number)
        late = await one.connect(OTHER)
        await late.send(GET)
        assert (await late.answer())[0] == 200
        await crowd[0].ended()
        for waiting in (neighbour, *crowd[1:]):
            await waiting.send(GET)
            assert (await waiting.answer())[0] == 200


async def test_idle_connections_make_room_too() -> None:
    async with listener(connections=2, peer_share_max=1) as one:
        idle = []
        for _ in range(2):
            idle.append(await one.connect())
            await idle[-1].send(GET)
            assert (await idle[-1].answer())[0] == 200
        late = await one.connect()
        await late.send(GET)
        assert (await late.answer())[0] == 200
        assert await idle[0].ended() == b""


@pytest.mark.promise("no_connection_left")
async def test_where_all_are_served_a_new_connection_is_refused_at_once() -> None:
    async with listener(connections=2, peer_share_max=0.5) as one:
        served = []
        for number, address in enumerate((OTHER, THIRD)):
            served.append(await one.connect(address))
            await served[-1].send(GET.replace(b"/echo", b"/slow"))
            await one.was_asked(number + 1)
        late = await one.connect()
        status, answer = await late.answer()
        assert (status, b"Retry-After" in answer) == (503, True)
        await late.ended()
        one.go_on.set()
        for connection in served:
            assert (await connection.answer())[0] == 200


@pytest.mark.parametrize(
    ("busy", "refusal"), [([OTHER, OTHER, THIRD, THIRD], 503), (["127.0.0.1", "127.0.0.1"], 429)]
)
async def test_health_probes_are_answered_while_every_connection_is_served(
    busy: list[str], refusal: int
) -> None:
    """An orchestrator would otherwise restart the process under its highest load."""
    async with listener(connections=4, peer_share_max=0.5, probe_connections=2) as one:
        served = []
        for number, address in enumerate(busy):
            served.append(await one.connect(address))
            await served[-1].send(GET.replace(b"/echo", b"/slow"))
            await one.was_asked(number + 1)
        for _ in range(3):
            probe = await one.connect()
            await probe.send(GET.replace(b"/echo", b"/healthz"))
            status, answer = await probe.answer()
            assert (status, b"connection: close" in answer.lower()) == (200, True)
            await probe.ended()
        other = await one.connect()
        await other.send(GET)
        status, answer = await other.answer()
        assert (status, b"retry-after" in answer.lower()) == (refusal, True)
        await other.ended()
        # Connections that send nothing are closed for new ones.
        silent = [await one.connect() for _ in range(5)]
        probe = await one.connect()
        await probe.send(GET.replace(b"/echo", b"/healthz"))
        assert (await probe.answer())[0] == 200
        assert await silent[0].ended() == b""
        assert one.server.open_connections == len(served)
        one.go_on.set()
        for connection in served:
            assert (await connection.answer())[0] == 200


@pytest.mark.promise("too_many_connections", "connections")
async def test_one_address_has_its_part_of_the_connections_only() -> None:
    async with listener(connections=6, peer_share_max=0.5) as one:
        crowd = [await one.connect(OTHER) for _ in range(3)]
        for connection in crowd:
            await connection.send(GET.replace(b"/echo", b"/slow"))
        await one.was_asked(3)
        for _ in range(5):
            status, answer = await (await one.connect(OTHER)).answer()
            assert (status, b"Retry-After" in answer) == (429, True)
            await one.has_open(3)
        for address in ("127.0.0.1", THIRD):
            neighbour = await one.connect(address)
            await neighbour.send(GET)
            assert (await neighbour.answer())[0] == 200
        await crowd[0].close()
        await one.has_open(4)
        again = await one.connect(OTHER)
        await again.send(GET)
        assert (await again.answer())[0] == 200


async def test_a_flood_of_connections_is_a_line_in_the_log_and_nothing_stays_of_it() -> None:
    with capture_logs() as lines:
        async with listener(connections=8, peer_share_max=1) as one:
            crowd: list[Connection] = [await one.connect() for _ in range(200)]
            honest = await one.connect(OTHER)
            await honest.send(GET)
            assert (await honest.answer())[0] == 200
            assert one.server.open_connections <= 8
            for connection in crowd:
                await connection.close()
            await honest.close()
            await one.has_open(0)
    assert {line["event"] for line in lines} == {"connections_refused"}
    assert len(lines) <= 2


class Transport(asyncio.BaseTransport):
    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._extra.get(name, default)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_peer_is_an_address_or_the_network_of_one_machine(name: object, peer: str) -> None:
    assert peer_of(Transport({"peername": name})) == peer


@pytest.mark.parametrize(
    ("limit", "left"),
    [(1024, 768), (20_000, 19_744), (400, 144), (64, 16), (1, 1), (3, 1)],
)
def test_descriptors_are_kept_back_for_the_servers_behind(limit: int, left: int) -> None:
    assert max_listener_connections(limit=limit) == left
    assert ConnectionLimits().connections <= CONNECTIONS_MAX


def test_a_worker_keeps_back_enough_for_its_pools_and_for_hundreds_of_requests_to_kie() -> None:
    text = (ROOT / "worker/bootstrap.py").read_text(encoding="utf-8")
    (redis,) = re.findall(r"connect_redis\(.*connections=(\d+)", text)
    others = Settings.model_construct().worker_database_connections + int(redis) + WEBHOOKS_AT_ONCE
    assert DESCRIPTORS_RESERVED - others >= 500
    assert max_listener_connections(DESCRIPTORS_RESERVED, limit=1024) == 256


async def test_that_no_connection_can_be_accepted_is_one_line_without_a_traceback() -> None:
    loop = asyncio.get_running_loop()
    with capture_logs() as lines:
        async with listener():
            for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS) * 10:
                error = OSError(number, "no descriptors left")
                loop.call_exception_handler({"message": "accept", "exception": error})
    assert {line["event"] for line in lines} == {"connections_refused"}
    assert len(lines) <= 3


# --- compressed bodies ------------------------------------------------------------------------

BOMB = gzip.compress(b"0" * 10_000_000)


@pytest.mark.parametrize("path", ["/echo", "/ignore", "/slow", "/nowhere"])
@pytest.mark.parametrize(
    ("encodings", "body"),
    [
        (["gzip"], BOMB),
        (["GZIP"], BOMB),
        (["x-gzip"], BOMB),
        (["deflate"], zlib.compress(b"0" * 1_000_000)),
        (["br"], b"\x8b"),
        (["zstd"], b"\x28\xb5\x2f\xfd"),
        (["identity, gzip"], BOMB),
        (["identity", "gzip"], BOMB),
        (["none of them"], b"{}"),
    ],
)
async def test_a_compressed_body_is_refused_before_its_handler_is_asked(
    path: str, encodings: list[str], body: bytes
) -> None:
    async with listener() as one:
        connection = await one.connect()
        headers = [f"Content-Encoding: {one}" for one in encodings]
        await connection.send(post(path, len(body), *headers) + body)
        status, answer = await connection.answer()
        assert status == 415
        assert b"identity" in answer
        assert b"Accept-Encoding: identity" in answer
        assert one.asked == []


@pytest.mark.parametrize("encoding", ["identity", "Identity", "", "identity, identity"])
async def test_a_body_as_it_is_is_read(encoding: str) -> None:
    async with listener() as one:
        connection = await one.connect()
        await connection.send(post("/echo", 2, f"Content-Encoding: {encoding}") + b"{}")
        status, answer = await connection.answer()
        assert (status, answer[-2:]) == (200, b"{}")


async def test_a_compressed_transfer_is_not_unpacked() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    small = gzip.compress(b"hello")
    async with listener() as one:
        connection = await one.connect()
        await connection.send(head + b"%x\r\n" % len(small) + small + b"\r\n0\r\n\r\n")
        status, answer = await connection.answer()
        assert status == 400 or answer.endswith(small)


# --- no other way -----------------------------------------------------------------------------

_LISTENS = re.compile(
    r"TCPSite|SockSite|UnixSite|run_app|\.create_server|start_server|\.listen\(\d|web\.Server\("
    r"|AppRunner\b\(|HTTPServer"
)


def test_nothing_else_in_the_product_listens() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("shared", "producer", "worker")
        for path in (ROOT / folder).rglob("*.py")
        if _LISTENS.search(path.read_text(encoding="utf-8"))
    }
    # `shared/adapters/http/http_server.py` opens TCP ports; nobody else does.
    assert found == {"shared/adapters/http/http_server.py"}


async def test_a_server_without_deadlines_cannot_be_opened() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    with pytest.raises(TypeError, match="deadlines"):
        await listen(runner, "127.0.0.1", 0)
    await runner.cleanup()
