"""One hostile connection from its own address, and its outcome."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

ADDRESSES = 60
"""The number of local addresses that connections use, one after the other."""


@dataclass(frozen=True, slots=True)
class HostileConnection:
    """An open connection. The attack is over at `ends_at`, by the loop's clock."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ends_at: float

    async def send(self, data: bytes) -> None:
        """Send these bytes, as many as the other side accepts."""
        try:
            self.writer.write(data)
            async with asyncio.timeout_at(self.ends_at):
                await self.writer.drain()
        except (OSError, TimeoutError):
            pass

    async def drip(self, data: bytes, gap_seconds: float) -> None:
        """Send byte by byte until the other side disconnects or the data ends."""
        loop = asyncio.get_running_loop()
        for place in range(len(data)):
            is_over = self.reader.at_eof() or self.writer.transport.is_closing()
            if is_over or loop.time() > self.ends_at:
                return
            await self.send(data[place : place + 1])
            await asyncio.sleep(gap_seconds)

    async def outcome(self) -> str:
        """Return the status of the answer, or another outcome."""
        try:
            async with asyncio.timeout_at(self.ends_at):
                line = await self.reader.readline()
        except TimeoutError:
            return "open at the end"
        except OSError:
            line = b""
        parts = line.split(b" ", 2)
        return parts[1].decode() if line.startswith(b"HTTP/") and len(parts) > 1 else "closed"

    async def until_closed(self) -> str:
        """Read nothing, and wait until the other side disconnects."""
        loop = asyncio.get_running_loop()
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while loop.time() < self.ends_at:
            await asyncio.sleep(0.5)
            # Unread data hides the end of the connection, so ask the kernel.
            if _is_over(self.writer.get_extra_info("socket")):
                return "closed"
        return "open at the end"


_ESTABLISHED = 1
"""The numbers of the TCP states."""


def _is_over(connection: socket.socket) -> bool:
    """Return whether the connection was reset, or closed by the other side."""
    try:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return True
    return state != _ESTABLISHED


@asynccontextmanager
async def connect(
    port: int, number: int, ends_at: float, *, buffer_bytes: int | None = None
) -> AsyncIterator[HostileConnection]:
    """Open the connection with this number. Raises `OSError`."""
    opened = socket.socket()
    opened.setblocking(False)
    if buffer_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    loop = asyncio.get_running_loop()
    try:
        opened.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
        async with asyncio.timeout(10):
            await loop.sock_connect(opened, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=opened)
    except BaseException:
        opened.close()
        raise
    try:
        yield HostileConnection(reader, writer, ends_at)
    finally:
        writer.transport.abort()
