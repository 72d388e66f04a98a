"""The stream that tells pages which jobs have changed, so that they read again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from aiohttp import web

from producer.console.page import PageCall
from producer.live.sse_response import stream_response

STREAM_SECONDS = 60.0
"""A stream ends after this time. The browser connects again, and the session is checked again."""


async def stream_changes(call: PageCall) -> web.StreamResponse:
    """Stream which jobs have changed. The stream ends when the key of the session is revoked."""
    api = call.context.api
    async with aclosing(api.producer.changes.frames(api.stopping)) as frames:
        return await stream_until_checked(call, frames)


async def stream_until_checked(
    call: PageCall, frames: AsyncIterator[bytes] | None
) -> web.StreamResponse:
    """Send the frames for at most `STREAM_SECONDS`."""
    guard = call.context.api.revocation_watch.until_revoked(call.visitor.caller)
    bounded = None if frames is None else _until_checked(frames)
    return await stream_response(call.request, bounded, guard)


async def _until_checked(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + STREAM_SECONDS
    async for frame in frames:
        yield frame
        if loop.time() >= ends_at:
            return
