"""An HTTP connection that is closed when the client is too slow to send its request.

aiohttp waits an hour for the next request, without limit for a request body, and reads the rest of
a refused body. Here each phase has a deadline, and refusing an unread body closes the
connection.
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
"""The maximum for each listener. A low limit of descriptors lowers it."""
LINE_BYTES_MAX = 8_190
"""The maximum for the request line and for a header. URLs in a query count toward it."""
PROBE_CONNECTIONS = 8
"""More connections, for health probes alone, of listeners that answer these."""
_BAD_REQUEST = range(400, 500)
_NEVER = float("inf")

RequestPart = Literal["idle", "head", "body"]
"""What the client has to send next: a request, the rest of a head, or the rest of a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The deadlines of a connection, and the maximum number of connections."""

    head_seconds: float = 10.0
    """From the connection, or the first byte of a later request, to the end of the head."""
    body_seconds: float = 20.0
    """From the end of the head to the end of the body."""
    idle_seconds: float = 75.0
    """From the end of a response to the first byte of the next request."""
    discard_seconds: float = 1.0
    """How long a client may take to read the response after its body was refused unread."""
    discard_bytes: int = 256 * 1024
    """How many bytes of such a body are read and discarded meanwhile."""
    connections: int = field(
        default_factory=lambda: min(CONNECTIONS_MAX, max_listener_connections())
    )
    probe_connections: int = 0
    """How many more there may be for health probes, while all of the others are served."""
    peer_share_max: float = 0.5
    """The maximum share of the connections for one client address."""

    @property
    def connections_of_peer(self) -> int:
        """The maximum number of connections of one client address."""
        return max(1, round(self.connections * self.peer_share_max))

    def seconds(self, part: RequestPart) -> float:
        """Return the deadline for this part of a request."""
        match part:
            case "idle":
                return self.idle_seconds
            case "head":
                return self.head_seconds
            case "body":
                return self.body_seconds


class LimitedConnection(ReadTimeoutConnection):
    """A connection with deadlines for head, body and idle time."""

    _server: LimitedServer
    peer = ""
    _awaited_part: RequestPart | None = None
    _is_silent = True
    """Whether the client has sent nothing yet. Browsers open connections in reserve."""
    _due = _NEVER
    _timer: asyncio.TimerHandle | None = None
    _body: StreamReader | None = None
    """The body of the newest request."""
    _discarded = -1
    """The number of discarded bytes. -1 while nothing is discarded."""
    _peer_is_done: asyncio.Future[None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the connection waits for its client."""
        return self._awaited_part is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server = cast("LimitedServer", self._manager)
        opened = cast("asyncio.Transport", transport)
        self.peer = peer_of(opened)
        refusal = self._server.admit(self)
        if refusal is not None:
            # No handler is started, so a refused connection is cheap.
            self._force_close = True
            opened.write(refusal)
            opened.close()
            return
        super().connection_made(transport)
        # Event streams last for hours, and their clients may disappear without closing.
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
                # Stop reading from the client. It can still read the response.
                self._pause_transport_reading()
            return
        self._is_silent = False
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
            raise ConnectionError("the response was begun, or its reader is gone")
        if status in _BAD_REQUEST:
            # The error's text contains what the client sent, so only its type is logged.
            incidents.record_failure(
                "request_not_read", self._server.name, type(exc).__name__, level="info"
            )
            detail = "this is not HTTP/1.1 as RFC 9112 writes it"
            if isinstance(exc, LineTooLong):
                detail = f"the request line or a header is longer than {LINE_BYTES_MAX:,} bytes"
            answer = self._server.refuse(request, status, "malformed_request", detail)
        else:
            incidents.record_failure(
                "request_failed", self._server.name, repr(exc), level="error", exc_info=exc
            )
            detail = "the mistake is in the log; nothing may have been stored"
            answer = self._server.refuse(request, status, "internal_error", detail)
        answer.force_close()
        return answer

    def extend_body_deadline(self, seconds: float) -> None:
        """Allow so many seconds from now for the rest of the current body."""
        if self._awaited_part == "body":
            self._due = self._loop.time() + seconds

    def abort(self) -> None:
        """Close the connection immediately. Unsent and unread data is lost."""
        self._note_peer_is_done()
        if self.transport is not None:
            reset(self.transport)

    def _wait_for(self, part: RequestPart | None) -> None:
        """Record what the client has to send next. None while the server has to reply."""
        self._awaited_part = part
        self._server.set_waiting(self, is_waiting=part is not None)
        if part is None:
            # The timer is kept: setting a new one for each request costs more than an early end.
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
        if self._awaited_part in {"head", "body"} and not self._is_silent:
            incidents.record_failure(
                "request_not_read", self._server.name, f"the {self._awaited_part} took too long"
            )
        self.abort()

    async def _discard_unread_body(self) -> None:
        """Discard the rest of the body while the client reads the response.

        Closing a socket with unread bytes resets the connection, and the client could lose the
        response.
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


def allow_body_seconds(request: web.BaseRequest, seconds: float) -> None:
    """Allow so many seconds from now for the body of the request, which is read as a stream."""
    connection = request.protocol
    if isinstance(connection, LimitedConnection):
        connection.extend_body_deadline(seconds)


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return the client address: IPv4, the /64 of IPv6, or an empty string."""
    name = transport.get_extra_info("peername")
    return network_of(str(name[0])) if isinstance(name, tuple) else ""


def network_of(text: str) -> str:
    """Return what counts as one client: an address of IPv4, or the /64 of one of IPv6."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    # One machine commonly has a whole /64.
    return str(IPv6Network((address, 64), strict=False))
