"""A proxy in front of the API that loses on order what real networks lose now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_CARRIED = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")


@dataclass(slots=True)
class LossyProxy:
    """The number of answers to lose, and the received requests in order."""

    target: str
    session: aiohttp.ClientSession
    url: str = ""
    refusals: int = 0
    """So many requests are answered with 503 and not passed on."""
    lost_answers: int = 0
    """The number of POSTs whose answers are lost: the API handles each, its caller gets none."""
    cut_streams: int = 0
    """So many streams break off in the middle of their second event."""
    requests: list[web.BaseRequest] = field(default_factory=list)

    def header_of(self, method: str, name: str) -> list[str | None]:
        """Return that header of every request of that method, in order."""
        return [one.headers.get(name) for one in self.requests if one.method == method]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass one request on; the handler of the server."""
        self.requests.append(request)
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503, headers={"Retry-After": "0"}, text="busy")
        headers = {name: request.headers[name] for name in _CARRIED if name in request.headers}
        async with self.session.request(
            request.method,
            self.target + request.path_qs,
            headers=headers,
            data=await request.read() or None,
        ) as answer:
            if answer.content_type == "text/event-stream":
                return await self._stream(request, answer)
            body = await answer.read()
        if request.method == "POST" and self.lost_answers:
            self.lost_answers -= 1
            _break_off(request)
        return web.Response(body=body, status=answer.status, content_type=answer.content_type)

    async def _stream(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        # Instead of the API's Retry-After, which would make a client wait for two seconds.
        await response.write(b"retry: 10\n\n")
        events = 0
        while not answer.content.at_eof():
            frame = await answer.content.readuntil(b"\n\n")
            events += b"data:" in frame
            if events == 2 and self.cut_streams:
                self.cut_streams -= 1
                await response.write(frame[: len(frame) // 2])
                _break_off(request)
                break
            if b"retry:" not in frame:
                await response.write(frame)
        return response


def _break_off(request: web.BaseRequest) -> None:
    if request.transport is not None:
        # Written bytes still arrive; then the connection is gone without an end.
        request.transport.close()


@asynccontextmanager
async def open_lossy_proxy(target: str) -> AsyncIterator[LossyProxy]:
    """Run a proxy to that URL for as long as the block lasts."""
    async with aiohttp.ClientSession() as session:
        proxy = LossyProxy(target, session)
        runner = web.ServerRunner(web.Server(proxy.handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
