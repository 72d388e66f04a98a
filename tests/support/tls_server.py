"""A server with TLS in front of a Unix socket, as a provider's Redis has one.

The certificate was issued for `localhost` alone, so that 127.0.0.1 is a wrong host name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "fixtures" / "tls"
CA_FILE, OTHER_CA_FILE = _FOLDER / "ca.pem", _FOLDER / "other_ca.pem"
CERTIFICATE_FILE, KEY_FILE = _FOLDER / "localhost.pem", _FOLDER / "localhost.key"


@asynccontextmanager
async def tls_in_front_of(
    socket_path: str, *, needs_certificate: bool = False, has_tls: bool = True
) -> AsyncIterator[int]:
    """Forward connections to that socket in the block. Yields the port.

    With `needs_certificate`, the client must show one of the same authority. Without `has_tls`,
    the bytes are forwarded as they come.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(CA_FILE))
    context.load_cert_chain(CERTIFICATE_FILE, KEY_FILE)
    if needs_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    links: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(_link(socket_path, reader, writer))
        links.add(link)
        link.add_done_callback(links.discard)

    server = await asyncio.start_server(accept, "localhost", 0, ssl=context if has_tls else None)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)


async def _link(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    far_reader, far_writer = await asyncio.open_unix_connection(path)
    try:
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
    finally:
        writer.close()
        far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
