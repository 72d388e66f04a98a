"""Answers what cannot be read as HTTP at all in the shape that every other refusal has.

aiohttp itself would answer with plain text that repeats what was sent, and would log a traceback:
anybody could fill the log.
"""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from producer.api.problems import problem
from shared.adapters.heartbeat import keep_alive

log = structlog.get_logger(__name__)

_BAD_REQUEST = range(400, 500)


class _Connection(web.RequestHandler):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # A stream of events is written to for hours: its reader may vanish without a word.
        keep_alive(transport.get_extra_info("socket"), ends_unacknowledged=False)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status not in _BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        log.info("request_not_read", why=type(exc).__name__, remote=request.remote)
        detail = "this is not HTTP/1.1 as RFC 9112 writes it"
        if isinstance(exc, LineTooLong):
            detail = "the first line or a header is too long"
        refusal = problem(status, "malformed_request", detail)
        refusal.force_close()
        return refusal


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application; what is no HTTP is refused with a problem, too."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
