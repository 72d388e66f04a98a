"""A relay to Postgres that gives another process id at login, as every pooler does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote, urlsplit

_KEY_DATA = b"K\x00\x00\x00\x0c"
"""The beginning of the message with the process id."""
_ID_BYTES = 4


@asynccontextmanager
async def pooler_in_front_of(database_url: str) -> AsyncIterator[str]:
    """Yield the URL of the database through the relay. The URL names a socket directory."""
    parts = urlsplit(database_url)
    path = f"{unquote(parts.hostname or '')}/.s.PGSQL.{parts.port}"
    links: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(_link(path, reader, writer))
        links.add(link)
        link.add_done_callback(links.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
    finally:
        server.close()
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)


async def _link(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    far_reader, far_writer = await asyncio.open_unix_connection(path)
    try:
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer, has_login=True))
    finally:
        writer.close()
        far_writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, has_login: bool = False
) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            before, found, after = data.partition(_KEY_DATA)
            if has_login and found:
                has_login = False
                data = before + found + b"\x00\x00\x00\x01" + after[_ID_BYTES:]
            writer.write(data)
            await writer.drain()
        writer.close()
