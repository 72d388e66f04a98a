"""Sends frames to one HTTP client as Server-Sent Events.

A client that is slow or gone without a word costs no more than its socket: what waits for it is
bounded here and in the kernel, and it is cut off when it takes nothing for half a minute.
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
    "Cache-Control": "no-store",
    # A proxy that collects frames before it passes them on would take the life out of the stream.
    "X-Accel-Buffering": "no",
}
WRITE_TIMEOUT_SECONDS = 30.0
"""How long a client may take nothing before it is cut off."""
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
    """Send the frames until they end or the client is gone; 204 where there are none to come.

    204 tells a browser's EventSource to stop asking. The stream ends as well when `key_guard`
    raises a refusal inside its block, or `count_unsent` does, which is told how many bytes of a
    long stretch wait for the client: it comes again, and is told why.
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
        # Gone, or stuck: what lies in the buffers is not worth waiting for.
        if request.transport is not None:
            reset(request.transport)
    except DarkroomError as error:
        # The status is sent already: the client comes again and resumes.
        incidents.record_outage(error, doing="stream_events")
    return response


async def _write(response: web.StreamResponse, data: bytes, write_timeout_seconds: float) -> None:
    async with asyncio.timeout(write_timeout_seconds):
        await response.write(data)


def _limit_socket(request: web.Request, write_timeout_seconds: float) -> None:
    """Let the kernel keep little for this client, and give it up when it acknowledges nothing."""
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
        pass  # it is gone already, which the first write finds out
