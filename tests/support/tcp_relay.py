"""A TCP relay to a server that can cut, slow and freeze connections, and lose data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from random import Random

_CHUNK_BYTES = 65_536
_LONGEST_PIECE_BYTES = 400
_LONGEST_PAUSE_SECONDS = 0.05


class LinkFault(StrEnum):
    """The faults of the links of an open relay."""

    SLOW = "slow"
    """Everything arrives, in small pieces with a short delay each."""
    REQUESTS_LOST = "requests lost"
    """Requests are lost. The connection stays open and forwards nothing more."""
    REPLIES_LOST = "replies lost"
    """Requests arrive, and the answers are lost."""


class TcpRelay:
    """While open it forwards data. While cut it drops and refuses connections."""

    def __init__(self, socket_path: str, random: Random | None = None) -> None:
        self._socket_path = socket_path
        self._random = random or Random(0)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._greeting = b""
        self._generation = 0
        self._hidden_generation = 0
        self.port = 0
        self.trouble: LinkFault | None = None
        """Holds from now on, for links old and new."""

    async def restore(self) -> None:
        """Accept connections, always on the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def lead_to(self, socket_path: str, *, greeting: bytes = b"") -> None:
        """Forward new links to that server. Existing links are not changed.

        The greeting is sent first on each of them. Its reply of one line is not forwarded.
        """
        self._socket_path, self._greeting = socket_path, greeting

    async def cut(self) -> None:
        """Refuse new connections, and drop existing ones."""
        if self._server is not None:
            self._server.close()
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def freeze(self, *, hides_ends: bool = False) -> int:
        """Freeze all existing links: they stay open, but no data passes. New links work.

        Returns how many links there are. With `hides_ends`, a side is not told that the other has
        closed. A NAT that has dropped its state behaves like this.
        """
        self._generation += 1
        if hides_ends:
            self._hidden_generation = self._generation
        return len(self._links)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers, generation = [writer], self._generation
        try:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_unix_connection(self._socket_path)
                writers.append(far_writer)
                if self._greeting:
                    far_writer.write(self._greeting)
                    await far_reader.readline()
                pumps = {
                    asyncio.create_task(self._pump(reader, far_writer, LinkFault.REQUESTS_LOST)),
                    asyncio.create_task(self._pump(far_reader, writer, LinkFault.REPLIES_LOST)),
                }
                try:
                    # Whichever side goes first takes the other with it.
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    if generation < self._hidden_generation:
                        await asyncio.wait(pumps)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        except asyncio.CancelledError:
            for one in writers:
                one.transport.abort()
            raise
        finally:
            for one in writers:
                one.close()  # sends what is left

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loss: LinkFault
    ) -> None:
        is_deaf, generation = False, self._generation
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                # A stream with a gap is useless, so a connection that lost data loses the rest.
                is_frozen = generation != self._generation
                is_deaf = is_deaf or is_frozen or self.trouble is loss
                if is_deaf:
                    continue
                for piece in self._pieces(data):
                    if self.trouble is LinkFault.SLOW:
                        await asyncio.sleep(self._random.uniform(0, _LONGEST_PAUSE_SECONDS))
                    writer.write(piece)
                    await writer.drain()

    def _pieces(self, data: bytes) -> list[bytes]:
        if self.trouble is not LinkFault.SLOW:
            return [data]
        pieces = []
        while data:
            length = self._random.randint(1, _LONGEST_PIECE_BYTES)
            pieces.append(data[:length])
            data = data[length:]
        return pieces


@asynccontextmanager
async def relay_to(socket_path: str, random: Random | None = None) -> AsyncIterator[TcpRelay]:
    """Open a relay to the server on that Unix socket. Drops its links at the end."""
    relay = TcpRelay(socket_path, random)
    await relay.restore()
    try:
        yield relay
    finally:
        await relay.cut()
