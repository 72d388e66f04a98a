"""A TCP relay to a server that can cut, restore and freeze connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Outage:
    """A relay on a loopback port. While cut, it drops and refuses connections.

    It can also freeze existing connections, as a NAT does: they stay open, but no data passes. New
    ones work.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._greeting = b""
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def restore(self) -> None:
        """Accept connections again on the same port."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def lead_to(self, socket_path: str, *, greeting: bytes = b"") -> None:
        """Forward new connections to that server. Open connections are not changed.

        The greeting is sent first on each of them. Its reply of one line is not forwarded.
        """
        self._socket_path, self._greeting = socket_path, greeting

    async def cut(self) -> None:
        """Drop all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._links):
            writer.transport.abort()

    def forget(self) -> int:
        """Freeze all existing connections in both directions. Returns their number."""
        self._forgotten |= self._links
        return len(self._forgotten) // 2

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._socket_path)
        except OSError:
            writer.transport.abort()  # the server itself is away
            return
        if self._greeting:
            far_writer.write(self._greeting)
            await far_reader.readline()
        self._links |= {writer, far_writer}
        with suppress(OSError):
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        if writer in self._forgotten:
            # One side has closed a dead connection, and the other side does not know.
            far_writer.transport.abort()
            writer.transport.abort()
        self._links -= {writer, far_writer}
        self._forgotten -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if writer in self._forgotten:
                    continue
                writer.write(data)
                await writer.drain()
        if writer not in self._forgotten:
            writer.close()


@asynccontextmanager
async def outage_of(socket_path: str) -> AsyncIterator[Outage]:
    """Open a relay to the server on that Unix socket."""
    outage = Outage(socket_path)
    await outage.restore()
    try:
        yield outage
    finally:
        await outage.cut()
