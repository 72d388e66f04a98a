"""Closes connections whose client does not read its responses.

Response bytes that a client has not read stay in this process's memory. A client that requests
large responses and never reads them would keep that memory indefinitely.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from aiohttp import web

SLOW_READER_SECONDS = 30.0
"""In this time a client must read `SLOW_READER_BYTES_MIN`, or all there is."""
SLOW_READER_BYTES_MIN = 32 * 1024
_MOST_UNREAD = 64 * 1024
"""Above this size of the write buffer, both event loops pause writing by default."""
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)
_PIECE_BYTES = 32 * 1024
_KERNEL_BYTES = 64 * 1024
"""The size of the kernel's send buffer. It would grow to megabytes, and a slow client would appear
to read nothing for a long time."""


class ReadTimeoutConnection(web.RequestHandler):
    """A connection of aiohttp's server with a deadline for reading responses.

    No data is added to a write buffer above 64 KiB or to a closed connection, so any decrease of
    the buffer is what the client has read.
    """

    slow_reader_seconds = SLOW_READER_SECONDS
    _socket: asyncio.Transport | None = None
    _waiting_bytes = 0
    _check: asyncio.TimerHandle | None = None
    on_response_read: Callable[[], None] | None = None
    """Called once, when the client has read the current response, or is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # aiohttp drops its reference when it starts to close the transport.
        self._socket = cast("asyncio.Transport", transport)
        _bound_kernel(transport.get_extra_info("socket"))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._socket = None
        self._stop_watching()
        super().connection_lost(exc)
        self._notify_response_read()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            resp, is_reset = await super().finish_response(request, resp, start_time)
            return resp, is_reset or not await self.wait_until_read()
        finally:
            self._notify_response_read()

    async def wait_until_read(self) -> bool:
        """Wait until the write buffer is at most 64 KiB. Returns whether the client is connected.

        aiohttp waits for the same, except with uvloop, which writes and pauses only after the
        current callbacks.
        """
        try:
            while self._socket is not None and self._socket.get_write_buffer_size() > _MOST_UNREAD:
                await asyncio.sleep(0)
                await self._drain_helper()
        except ConnectionError:
            return False
        return self._socket is not None

    def _notify_response_read(self) -> None:
        tell, self.on_response_read = self.on_response_read, None
        if tell is not None:
            tell()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def force_close(self) -> None:
        super().force_close()
        self._watch()

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self._watch()

    def _watch(self) -> None:
        if self._socket is None or self._check is not None:
            return
        self._waiting_bytes = self._socket.get_write_buffer_size()
        if self._waiting_bytes:
            self._check = self._loop.call_later(self.slow_reader_seconds, self._end_unless_read)

    def _stop_watching(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None

    def _end_unless_read(self) -> None:
        self._check = None
        if self._socket is None:
            return
        if self._waiting_bytes - self._socket.get_write_buffer_size() < SLOW_READER_BYTES_MIN:
            reset(self._socket)
            return
        self._watch()


def _bound_kernel(connection: socket.socket | None) -> None:
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    # The connection may be closed already. The next write reports it.
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)


def reset(transport: asyncio.Transport) -> None:
    """Close the connection immediately, also in the kernel.

    After a normal close the kernel would keep unsent data for minutes.
    """
    connection = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
    transport.abort()


def call_after_response_read(request: web.BaseRequest, callback: Callable[[], None]) -> None:
    """Call `callback` once the client has read the response, or is gone."""
    connection = request.protocol
    if isinstance(connection, ReadTimeoutConnection) and connection.transport is not None:
        connection.on_response_read = callback
    else:
        callback()


class PacedResponse(web.Response):
    """A response of any length that is written in pieces of 32 KiB.

    aiohttp would copy the whole body into the write buffer of each slow client.
    """

    async def write_eof(self, data: bytes = b"") -> None:
        request, body = self._req, self.body
        if request is None or request.method == "HEAD" or not isinstance(body, bytes):
            return await super().write_eof(data)
        if len(body) <= _PIECE_BYTES:
            return await super().write_eof(data)
        connection, whole = request.protocol, memoryview(body)
        for start in range(0, len(whole), _PIECE_BYTES):
            await self.write(whole[start : start + _PIECE_BYTES])
            if (
                isinstance(connection, ReadTimeoutConnection)
                and not await connection.wait_until_read()
            ):
                raise ConnectionResetError("the reader of the response is gone")
        return await web.StreamResponse.write_eof(self)
