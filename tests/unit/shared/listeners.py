"""A listener with short deadlines for tests, and raw connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from shared.adapters.http.http_connection import ConnectionLimits
from shared.adapters.http.http_server import LimitedRunner, LimitedServer, listen
from shared.adapters.http.request_body import read_body

WAIT_SECONDS = 20.0


@dataclass(slots=True)
class Listener:
    """One that is open."""

    port: int
    server: LimitedServer
    asked: list[str] = field(default_factory=list)
    """What its handlers were asked for."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """What the handler of `/slow` waits for."""
    connections: list[Connection] = field(default_factory=list)

    async def connect(self, address: str = "127.0.0.1") -> Connection:
        """Open a connection, from an address of this machine."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0)
        )
        self.connections.append(Connection(reader, writer))
        return self.connections[-1]

    async def was_asked(self, count: int) -> None:
        """Wait until its handlers were called this often."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.asked) < count:
                await asyncio.sleep(0.01)

    async def has_open(self, count: int) -> None:
        """Wait until it has this number of connections."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.server.open_connections != count:
                await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Connection:
    """A client that sends raw bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send these bytes. Errors are ignored."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass

    async def answer(self) -> tuple[int, bytes]:
        """Read one response. Returns its status, and its head and body."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            (length,) = [line for line in lines if line.startswith(b"content-length:")] or [b": 0"]
            body = await self.reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1]), head + body

    async def ended(self) -> bytes:
        """Wait until the server closes it. Returns the data received before."""
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        """Close the connection."""
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@asynccontextmanager
async def listener(**limits: Any) -> AsyncIterator[Listener]:
    """Open a listener with `/echo`, `/ignore` (reads no body) and `/slow`."""
    opened: list[Listener] = []

    def asked(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            opened[0].asked.append(request.path)
            return await handler(request)

        return handle

    async def echo(request: web.Request) -> web.Response:
        body = await read_body(request, 1000)
        if not isinstance(body, bytes):
            return web.Response(status=413, text=body.value)
        return web.Response(body=body)

    async def ignore(_: web.Request) -> web.Response:
        return web.Response(status=401, text="no")

    async def slow(_: web.Request) -> web.Response:
        await opened[0].go_on.wait()
        return web.Response(text="done")

    async def fail(_: web.Request) -> web.Response:
        raise ZeroDivisionError("a mistake of ours")

    app = web.Application()
    app.router.add_get("/healthz", _alive)
    for path, handler in (("/echo", echo), ("/ignore", ignore), ("/slow", slow), ("/fail", fail)):
        app.router.add_route("*", path, asked(handler))
    runner = LimitedRunner(
        app, name="test", limits=ConnectionLimits(**limits), shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await listen(runner, "127.0.0.1", 0)
        assert isinstance(runner.server, LimitedServer)
        opened.append(Listener(int(runner.addresses[0][1]), runner.server))
        yield opened[0]
    finally:
        for connection in opened[0].connections if opened else ():
            await connection.close()
        await runner.cleanup()
