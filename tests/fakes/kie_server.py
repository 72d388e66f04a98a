"""Two servers in Kie's place on real sockets: one that answers, and one that misbehaves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as the server saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class KieServer:
    """Answers each request with the next scripted answer, and remembers the requests."""

    def __init__(self) -> None:
        self.received: list[ReceivedRequest] = []
        self._script: deque[web.Response] = deque()
        self.base_url = ""

    def will_answer(
        self, body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Script one JSON answer."""
        self._script.append(web.json_response(body, status=status, headers=headers))

    def will_answer_text(self, text: str | bytes, *, status: int = 200) -> None:
        """Script one answer that is not JSON."""
        raw = text.encode() if isinstance(text, str) else text
        self._script.append(web.Response(body=raw, status=status, content_type="text/html"))

    async def handle(self, request: web.Request) -> web.Response:
        """Note the request and take the next answer of the script."""
        body = await request.json() if request.can_read_body else None
        self.received.append(
            ReceivedRequest(request.method, request.path, request.query, request.headers, body)
        )
        # 418 means nothing to the client, so a forgotten answer fails the test that forgot it.
        return self._script.popleft() if self._script else web.Response(status=418)


@asynccontextmanager
async def kie_server() -> AsyncIterator[KieServer]:
    """Run a scripted Kie on a free port of the loopback."""
    server = KieServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.base_url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""The action of the raw server after it has read a whole request."""


class RawServer:
    """Reads whole requests from a socket, and handles the connection as the script requires."""

    def __init__(self, behaviours: tuple[Behaviour, ...]) -> None:
        self._script = deque(behaviours)
        self.requests: list[str] = []
        self.connections = 0
        self.base_url = ""
        self._handlers: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the script or the client ends it."""
        self.connections += 1
        if task := asyncio.current_task():
            self._handlers.add(task)
        try:
            while not writer.is_closing():
                self.requests.append(await _read_request(reader))
                if not self._script:
                    break
                await self._script.popleft()(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client hung up, which is one of the things that tests provoke.
        finally:
            writer.close()

    async def close(self) -> None:
        """End the connections that still stand, such as the stalled ones."""
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lengths = [
        line.partition(":")[2]
        for line in head.lower().split("\r\n")
        if line.startswith("content-length:")
    ]
    await reader.readexactly(int(lengths[0]) if lengths else 0)
    return head.split("\r\n")[0]


@asynccontextmanager
async def raw_server(*behaviours: Behaviour) -> AsyncIterator[RawServer]:
    """Run a raw server on a free port; beyond its script it closes connections unanswered."""
    server = RawServer(behaviours)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.close()


def reply(body: bytes, *, head: bytes = b"", length: int | None = None) -> Behaviour:
    """Answer 200 and keep the connection; a `length` beyond the body leaves it unfinished."""
    size = len(body) if length is None else length

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (size, head, body))
        await writer.drain()

    return answer


def say(raw: bytes) -> Behaviour:
    """Write these bytes and close the connection."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return write


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""
    writer.close()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection without a farewell."""
    writer.transport.abort()


async def stall(writer: asyncio.StreamWriter) -> None:
    """Keep the connection, answer nothing."""
    await writer.drain()
