"""A client that does not read its response is disconnected; a slow one is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from shared.adapters.async_tasks import loop_factory
from shared.adapters.http.http_connection import LimitedConnection
from shared.adapters.http.slow_readers import (
    SLOW_READER_BYTES_MIN,
    SLOW_READER_SECONDS,
    PacedResponse,
    ReadTimeoutConnection,
)

BODY = bytes(range(256)) * 8192
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LOOPS = pytest.mark.parametrize("factory", [loop_factory(), None], ids=["uvloop", "asyncio"])
KINDS = pytest.mark.parametrize("kind", [web.Response, PacedResponse], ids=["whole", "in pieces"])


class _Connection(ReadTimeoutConnection):
    slow_reader_seconds = 0.4


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        connection = _Connection(self, loop=self._loop, **self._kwargs)
        connections.append(connection)
        return connection


connections: list[_Connection] = []
answered: list[int] = []


@asynccontextmanager
async def serving(kind: type[web.Response] = web.Response) -> AsyncIterator[int]:
    """Serve a long answer to every request. Yields the port."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        answered.append(1)
        return kind(body=BODY)

    connections.clear()
    answered.clear()
    server = await asyncio.get_running_loop().create_server(
        _Server(answer, access_log=None), "127.0.0.1", 0
    )
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def ask(port: int, request: bytes = REQUEST) -> socket.socket:
    """Ask over a connection with a small window."""
    loop, connection = asyncio.get_running_loop(), socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.setblocking(False)
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, request)
    return connection


async def are_gone() -> None:
    """Wait until the server has given up every connection."""
    async with asyncio.timeout(10):
        while not answered or any(one._socket is not None for one in connections):
            await asyncio.sleep(0.02)


def run(factory: Callable[[], asyncio.AbstractEventLoop] | None, test: Awaitable[None]) -> None:
    async def whole() -> None:
        await test

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(whole())


@pytest.mark.promise("an answer that its reader does not read")
@LOOPS
@KINDS
@pytest.mark.parametrize("request_", [REQUEST, CLOSING, REQUEST * 3], ids=["kept", "closed", "3"])
def test_a_client_that_reads_nothing_is_disconnected(
    factory: Callable[[], asyncio.AbstractEventLoop] | None,
    kind: type[web.Response],
    request_: bytes,
) -> None:
    async def test() -> None:
        async with serving(kind) as port:
            with await ask(port, request_):
                await are_gone()
            assert len(answered) == 1, "what was asked behind it was answered as well"

    run(factory, test())


@LOOPS
@KINDS
def test_a_client_that_reads_a_few_bytes_at_a_time_is_disconnected(
    factory: Callable[[], asyncio.AbstractEventLoop] | None, kind: type[web.Response]
) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with serving(kind) as port:
            with await ask(port) as connection:
                gone = asyncio.create_task(are_gone())
                taken = 0
                while not gone.done() and taken < len(BODY):
                    taken += len(await loop.sock_recv(connection, 64))
                    await asyncio.wait([gone], timeout=0.02)
                await gone
                assert taken < len(BODY)

    run(factory, test())


@LOOPS
@KINDS
def test_a_client_that_reads_slowly_but_steadily_gets_the_whole_answer(
    factory: Callable[[], asyncio.AbstractEventLoop] | None, kind: type[web.Response]
) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with serving(kind) as port:
            with await ask(port, CLOSING) as connection:
                taken, started = 0, loop.time()
                while chunk := await loop.sock_recv(connection, 8 * SLOW_READER_BYTES_MIN):
                    taken += len(chunk)
                    if loop.time() - started < 3 * _Connection.slow_reader_seconds:
                        await asyncio.sleep(0.004)
                assert taken > len(BODY)
                assert loop.time() - started > 2 * _Connection.slow_reader_seconds

    run(factory, test())


@LOOPS
@KINDS
def test_the_answer_is_complete_and_the_connection_stays_open(
    factory: Callable[[], asyncio.AbstractEventLoop] | None, kind: type[web.Response]
) -> None:
    async def test() -> None:
        async with serving(kind) as port, aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.head(f"http://127.0.0.1:{port}/") as head:
                    assert (head.content_length, await head.read()) == (len(BODY), b"")
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    assert await answer.read() == BODY
            assert len(connections) == 1

    run(factory, test())


def test_every_listener_of_the_product_has_this_deadline() -> None:
    """`test_nothing_else_in_the_product_listens` holds that there is no other."""
    assert issubclass(LimitedConnection, ReadTimeoutConnection)
    assert LimitedConnection.slow_reader_seconds == SLOW_READER_SECONDS
