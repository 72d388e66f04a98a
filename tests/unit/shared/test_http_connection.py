"""Each phase of a connection has a deadline, and refusing an unread body closes it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.adapters.monitoring.incident_log import incidents
from tests.unit.shared.listeners import listener

GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
QUICK = 0.15
NEVER = 1000.0


def post(path: str, length: int, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_incidents() -> None:
    incidents.clear()


HALF_HEADS = [
    b"",
    b"G",
    b"GET /echo HTT",
    b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 1000,
    GET[:-2],
    b"\r\n",
]


@pytest.mark.promise("time for the head of a request to arrive")
@pytest.mark.parametrize("sent", HALF_HEADS, ids=lambda sent: repr(sent[:20]))
async def test_a_head_that_does_not_end_ends_the_connection(sent: bytes) -> None:
    async with listener(head_seconds=QUICK, idle_seconds=NEVER, body_seconds=NEVER) as one:
        connection = await one.connect()
        await connection.send(sent)
        await connection.ended()
        await one.has_open(0)
        assert one.asked == []


async def test_a_head_sent_byte_by_byte_has_no_more_time_than_another() -> None:
    async with listener(head_seconds=QUICK, idle_seconds=NEVER) as one:
        connection = await one.connect()
        ended = asyncio.create_task(connection.ended())
        sent = 0
        async with asyncio.timeout(20):
            while not ended.done():
                await connection.send(b"GET / HTTP/1.1\r\nX: "[sent : sent + 1] or b"a")
                sent += 1
                await asyncio.sleep(QUICK / 10)
        await one.has_open(0)


async def test_a_later_head_has_its_time_from_its_first_byte() -> None:
    async with listener(head_seconds=QUICK, idle_seconds=NEVER) as one:
        connection = await one.connect()
        await connection.send(GET)
        assert (await connection.answer())[0] == 200
        # Idle for longer than a head may take: that is another deadline.
        await asyncio.sleep(2 * QUICK)
        assert one.server.open_connections == 1
        await connection.send(GET[:10])
        await connection.ended()
        await one.has_open(0)


HALF_BODIES = [
    post("/echo", 100) + b"x" * 10,
    post("/echo", 100),
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    post("/slow", 100) + b"x",
    post("/slow", 100).replace(b"POST", b"GET"),
]


@pytest.mark.parametrize("sent", HALF_BODIES, ids=lambda sent: repr(sent[:24] + sent[-6:]))
async def test_a_body_that_does_not_end_ends_the_connection(sent: bytes) -> None:
    """Whether the handler reads the body."""
    async with listener(body_seconds=QUICK, idle_seconds=NEVER, head_seconds=NEVER) as one:
        connection = await one.connect()
        await connection.send(sent)
        await connection.ended()
        await one.has_open(0)
        one.go_on.set()


@pytest.mark.promise("time between two requests on one connection")
async def test_a_connection_without_a_next_request_ends() -> None:
    async with listener(idle_seconds=QUICK, head_seconds=NEVER, body_seconds=NEVER) as one:
        connection = await one.connect()
        for _ in range(2):
            await connection.send(post("/echo", 3) + b"abc")
            assert (await connection.answer())[0] == 200
        assert await connection.ended() == b""
        await one.has_open(0)


async def test_a_handler_may_take_longer_than_every_deadline() -> None:
    async with listener(idle_seconds=QUICK, head_seconds=QUICK, body_seconds=QUICK) as one:
        connection = await one.connect()
        await connection.send(post("/slow", 3) + b"abc")
        await asyncio.sleep(3 * QUICK)
        one.go_on.set()
        status, answer = await connection.answer()
        assert (status, answer.endswith(b"done")) == (200, True)


UNREAD = [
    post("/ignore", 3_000_000) + b"x" * 3_000_000,
    post("/echo", 3_000_000) + b"x" * 3_000_000,
    post("/nowhere", 3_000_000) + b"x" * 3_000_000,
    post("/echo", 3_000_000, "Content-Encoding: gzip") + b"x" * 3_000_000,
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1000\r\n" * 1
    + b"x" * 0x1000
    + b"\r\n100000\r\n"
    + b"x" * 0x90000,
]


@pytest.mark.parametrize("sent", UNREAD, ids=lambda sent: repr(sent[:16]))
async def test_a_body_refused_unread_is_answered_and_ends_the_connection(sent: bytes) -> None:
    async with listener() as one:
        connection = await one.connect()
        sending = asyncio.create_task(connection.send(sent))
        status, answer = await connection.answer()
        assert status in {401, 404, 413, 415}
        assert b"connection: close" in answer.lower()
        await one.has_open(0)
        await connection.close()
        await sending


async def test_a_refused_client_that_sends_no_more_is_waited_for_briefly() -> None:
    async with listener(discard_seconds=QUICK) as one:
        connection = await one.connect()
        await connection.send(post("/ignore", 3_000_000) + b"x" * 1000)
        assert (await connection.answer())[0] == 401
        assert await connection.ended() == b""
        await one.has_open(0)


async def test_a_short_body_that_is_there_leaves_the_connection_open() -> None:
    async with listener() as one:
        connection = await one.connect()
        for _ in range(3):
            await connection.send(post("/ignore", 5) + b"hello")
            status, answer = await connection.answer()
            assert (status, b"connection: close" in answer.lower()) == (401, False)
        assert one.server.open_connections == 1


async def test_requests_sent_at_once_are_answered_in_their_order() -> None:
    async with listener(idle_seconds=QUICK) as one:
        connection = await one.connect()
        await connection.send(b"".join(post("/echo", 1) + b"%d" % n for n in range(9)))
        answers = [(await connection.answer())[1][-1:] for _ in range(9)]
        assert answers == [b"%d" % n for n in range(9)]
        assert await connection.ended() == b""


async def test_a_hundred_unreadable_requests_are_one_line_in_the_log() -> None:
    sent = [
        b"\x16\x03\x01 not HTTP\r\n\r\n",
        b"GET /echo HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\r\n\r\n",
    ]
    with capture_logs() as lines:
        async with listener() as one:
            for number in range(99):
                connection = await one.connect()
                await connection.send(sent[number % 3])
                status, _ = await connection.answer()
                assert status == 400
                await connection.close()
    told = [line for line in lines if line["event"] == "request_not_read"]
    assert len(told) == len(lines)
    assert 1 <= len(told) <= 3
    assert not any("exc_info" in line for line in told)


@pytest.mark.parametrize(("sent", "lines_logged"), [(b"", 0), (b"G", 1), (HALF_HEADS[2], 1)])
async def test_only_a_connection_that_sent_something_is_logged_when_its_head_takes_too_long(
    sent: bytes, lines_logged: int
) -> None:
    with capture_logs() as lines:
        async with listener(head_seconds=QUICK) as one:
            connection = await one.connect()
            if sent:
                await connection.send(sent)
            assert await connection.ended() == b""
    assert len([line for line in lines if line["event"] == "request_not_read"]) == lines_logged


async def test_a_body_that_breaks_off_is_no_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with capture_logs() as lines:
        async with listener() as one:
            for sent in (*HALF_BODIES, *HALF_HEADS):
                connection = await one.connect()
                await connection.send(sent)
                await one.has_open(1)
                await connection.close()
                await one.has_open(0)
            one.go_on.set()
    assert lines == []
    assert caplog.records == []


async def test_a_repeated_mistake_of_ours_has_one_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with capture_logs() as lines:
        async with listener() as one:
            connection = await one.connect()
            for _ in range(20):
                await connection.send(GET.replace(b"/echo", b"/fail"))
                status, answer = await connection.answer()
                assert status == 500
                assert b"a mistake of ours" not in answer
                connection = await one.connect()
    assert [line["event"] for line in lines] == ["request_failed"]
    assert caplog.records == []
