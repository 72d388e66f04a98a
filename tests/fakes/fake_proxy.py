"""A forward proxy on a local socket: CONNECT and absolute URLs, with a password if wanted."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class FakeProxy:
    """What was asked, and how to answer."""

    port: int = 0
    user: str | None = None
    password: str = ""
    route: Callable[[str], tuple[str, int]] | None = None
    """Where a tunnel to `host:port` leads. Default: to that host and port."""
    status: int = 200
    """The answer to CONNECT."""
    asked: list[str] = field(default_factory=list)
    """The first line of each request, without its version."""

    @property
    def url(self) -> str:
        """The URL for HTTPS_PROXY, with the password."""
        user = "" if self.user is None else f"{self.user}:{self.password}@"
        return f"http://{user}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            self.asked.append(f"{method} {target}")
            status = 407 if not self._knows(head) else self.status
            if status != 200:
                writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            elif method == "CONNECT":
                await self._tunnel(target, reader, writer)
            else:
                await self._forward(target, head, reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _knows(self, head: bytes) -> bool:
        if self.user is None:
            return True
        given = base64.b64encode(f"{self.user}:{self.password}".encode())
        return b"Proxy-Authorization: Basic " + given in head

    async def _tunnel(
        self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await self._open(target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, there, back)

    async def _forward(
        self, url: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        parts = urlsplit(url)
        there, back = await self._open(f"{parts.hostname}:{parts.port or 80}")
        back.write(head)
        await _join(reader, writer, there, back)

    async def _open(self, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = target.rpartition(":")
        place = self.route(target) if self.route else (host, int(port))
        return await asyncio.open_connection(*place)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    back: asyncio.StreamWriter,
) -> None:
    """Copy in both directions until both have ended."""
    try:
        await asyncio.gather(_copy(reader, back), _copy(there, writer))
    finally:
        back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxying(proxy: FakeProxy | None = None) -> AsyncIterator[FakeProxy]:
    """Run a proxy while the block runs."""
    proxy = proxy or FakeProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
