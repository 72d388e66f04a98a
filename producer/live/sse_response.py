"""Sends frames to one HTTP client as Server-Sent Events.

A client that is slow, or gone without closing its connection, costs little more than its socket.
Its unsent data is bounded here and in the kernel. A client that reads nothing for
`WRITE_TIMEOUT_SECONDS` is disconnected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress

from aiohttp import web

from producer.live.event_frames import RETRY_FRAME
from shared.adapters.http.slow_readers import reset
from shared.adapters.monitoring.incident_log import incidents
from shared.errors import DarkroomError, RequestRefused

HEADERS = {
    "Content-Type": "text/event-stream",
    # A proxy that compresses the frames would hold them back.
    "Cache-Control": "no-cache, no-transform",
    # nginx would otherwise buffer the frames.
    "X-Accel-Buffering": "no",
}
WRITE_TIMEOUT_SECONDS = 30.0
"""The longest time that a client may read nothing before it is disconnected."""
_SEND_BUFFER_BYTES = 64 * 1024
_LARGE_FRAME_BYTES = 16 * 1024


async def stream_response(
    request: web.Request,
    frames: AsyncIterator[bytes] | None,
    key_guard: AbstractAsyncContextManager[None],
    *,
    count_unsent: Callable[[int], None] = lambda _: None,
    write_timeout_seconds: float = WRITE_TIMEOUT_SECONDS,
) -> web.StreamResponse:
    """Send the frames until they end or the client disconnects. Without frames, return 204.

    204 makes the EventSource of a browser stop connecting. The stream also ends when `key_guard`
    raises an error in its block, or when `count_unsent` does. `count_unsent` is called with the
    size of each large frame before it is sent, and with 0 after. The client then connects again,
    and that request returns the error.
    """
    if frames is None:
        return web.Response(status=204)
    response = web.StreamResponse(headers=HEADERS)
    _limit_socket(request, write_timeout_seconds)
    try:
        await response.prepare(request)
        with suppress(RequestRefused):
            async with key_guard:
                await _write(response, RETRY_FRAME, write_timeout_seconds)
                async for frame in frames:
                    if len(frame) > _LARGE_FRAME_BYTES:
                        count_unsent(len(frame))
                    await _write(response, frame, write_timeout_seconds)
                    if len(frame) > _LARGE_FRAME_BYTES:
                        count_unsent(0)
        async with asyncio.timeout(write_timeout_seconds):
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        # The client is gone or reads nothing, so do not wait for the buffers to be sent.
        if request.transport is not None:
            reset(request.transport)
    except DarkroomError as error:
        # The status is already sent. The client connects again and resumes.
        incidents.record_outage(error, doing="stream_events")
    return response


async def _write(response: web.StreamResponse, data: bytes, write_timeout_seconds: float) -> None:
    async with asyncio.timeout(write_timeout_seconds):
        await response.write(data)


def _limit_socket(request: web.Request, write_timeout_seconds: float) -> None:
    """Limit the send buffer of the socket, and how long it waits for an acknowledgement."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            milliseconds = int(write_timeout_seconds * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    except OSError:
        pass  # the connection is gone; the first write fails
