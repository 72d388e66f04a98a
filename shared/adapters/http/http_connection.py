"""One connection of an HTTP server, which ends by itself where its peer does not go on.

aiohttp waits for an hour for the next request, for ever for a body that nobody reads, and takes in
what is left of a refused body. Here each phase has a deadline, and a body that was refused unread
closes the connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Literal, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from shared.adapters.http.descriptor_limit import max_listener_connections
from shared.adapters.http.slow_readers import ReadTimeoutConnection, reset
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.tcp_keepalive import keep_alive

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

    from shared.adapters.http.http_server import LimitedServer

CONNECTIONS_MAX = 2_000
"""For each listener, where the limit of descriptors leaves room for as many."""
_BAD_REQUEST = range(400, 500)
_NEVER = float("inf")

RequestPart = Literal["idle", "head", "body"]
"""What a peer still has to send: a next request, the rest of a head, the rest of a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The deadlines of each connection, and how many there may be."""

    head_seconds: float = 10.0
    """From the connection, or from the first byte of a later request, to the end of the head."""
    body_seconds: float = 20.0
    """From the end of the head to the end of the body."""
    idle_seconds: float = 75.0
    """From the end of an answer to the first byte of the next request."""
    discard_seconds: float = 1.0
    """How long a peer whose body was refused unread may take to read the answer."""
    discard_bytes: int = 256 * 1024
    """How much of what such a peer goes on sending is taken meanwhile, to be thrown away."""
    connections: int = field(
        default_factory=lambda: min(CONNECTIONS_MAX, max_listener_connections())
    )
    peer_share_max: float = 0.5
    """How large a part of the connections one peer may hold."""

    @property
    def connections_of_peer(self) -> int:
        """How many connections one peer may hold."""
        return max(1, round(self.connections * self.peer_share_max))

    def seconds(self, part: RequestPart) -> float:
        """Return how long a peer may take for this."""
        match part:
            case "idle":
                return self.idle_seconds
            case "head":
                return self.head_seconds
            case "body":
                return self.body_seconds


class LimitedConnection(ReadTimeoutConnection):
    """A connection with deadlines for head, body and idling."""

    _server: LimitedServer
    peer = ""
    _awaited_part: RequestPart | None = None
    _due = _NEVER
    _timer: asyncio.TimerHandle | None = None
    _body: StreamReader | None = None
    """The body of the request that came last."""
    _discarded = -1
    """How many bytes were thrown away; -1 where none need be."""
    _peer_is_done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server = cast("LimitedServer", self._manager)
        opened = cast("asyncio.Transport", transport)
        self.peer = peer_of(opened)
        refusal = self._server.admit(self)
        if refusal is not None:
            # No handler is started for it: it costs no more than these bytes.
            self._force_close = True
            opened.write(refusal)
            opened.close()
            return
        super().connection_made(transport)
        # A stream of events is written to for hours: its reader may vanish without a word.
        keep_alive(opened.get_extra_info("socket"), ends_unacknowledged=False)
        self._wait_for("head")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.remove(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._note_peer_is_done()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self._note_peer_is_done()
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        if self._discarded >= 0:
            self._discarded += len(data)
            if self._discarded > self._server.limits.discard_bytes:
                # What it sends now stays with it. It may still read the answer.
                self._pause_transport_reading()
            return
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads and self._messages:
            self._body = self._messages[-1][1]
            self._wait_for(None if self._body.is_eof() else "body")
        elif self._awaited_part == "idle" and data:
            self._wait_for("head")
        elif self._awaited_part == "body" and self._body is not None and self._body.is_eof():
            self._wait_for(None)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        is_unread = not request.content.is_eof()
        if is_unread and not resp.prepared:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        if is_unread:
            await self._discard_unread_body()
        elif not self._messages:
            self._wait_for("idle")
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0 or self.transport is None:
            raise ConnectionError("the answer was begun, or its reader is gone")
        if status in _BAD_REQUEST:
            # Its text repeats what was sent: the kind of error alone is logged.
            incidents.record_failure(
                "request_not_read", self._server.name, type(exc).__name__, level="info"
            )
            detail = "this is not HTTP/1.1 as RFC 9112 writes it"
            if isinstance(exc, LineTooLong):
                detail = "the first line or a header is too long"
            answer = self._server.refuse(request, status, "malformed_request", detail)
        else:
            incidents.record_failure(
                "request_failed", self._server.name, repr(exc), level="error", exc_info=exc
            )
            detail = "the mistake is in the log; nothing may have been stored"
            answer = self._server.refuse(request, status, "internal_error", detail)
        answer.force_close()
        return answer

    def abort(self) -> None:
        """End the connection at once: what it was still to send or to get is lost."""
        self._note_peer_is_done()
        if self.transport is not None:
            reset(self.transport)

    def _wait_for(self, part: RequestPart | None) -> None:
        """Note what the peer has to send now; None: nothing, it is our turn."""
        self._awaited_part = part
        self._server.set_waiting(self, is_waiting=part is not None)
        if part is None:
            # The timer stays as it is: to set it anew for each request costs more than its end.
            self._due = _NEVER
            return
        self._due = self._loop.time() + self._server.limits.seconds(part)
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._close_if_overdue)

    def _close_if_overdue(self) -> None:
        self._timer = None
        if self._loop.time() < self._due:
            if self._due != _NEVER:
                self._set_timer()
            return
        if self._awaited_part in {"head", "body"}:
            incidents.record_failure(
                "request_not_read", self._server.name, f"the {self._awaited_part} took too long"
            )
        self.abort()

    async def _discard_unread_body(self) -> None:
        """Let the peer read the answer, and throw away what it is still sending.

        A close with bytes unread resets the connection, and the answer could be lost with it.
        """
        if self.transport is None:
            return
        self._discarded = 0
        self._peer_is_done = self._loop.create_future()
        self._resume_transport_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._server.limits.discard_seconds):
                await self._peer_is_done

    def _note_peer_is_done(self) -> None:
        if self._peer_is_done is not None and not self._peer_is_done.done():
            self._peer_is_done.set_result(None)


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return whose connection it is: an IPv4 address, the /64 of an IPv6 address, or nothing."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return ""
    address = ip_address(str(name[0]).partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    # One machine commonly has a whole /64 to itself.
    return str(IPv6Network((address, 64), strict=False))
