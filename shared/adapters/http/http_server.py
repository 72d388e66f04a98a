"""The HTTP server of all processes of Darkroom.

Each listener limits its connections, has deadlines for requests, refuses compressed bodies, and
logs refusals as incidents.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from aiohttp import web

from shared.adapters.http.forwarding import Forwarding
from shared.adapters.http.http_connection import (
    LINE_BYTES_MAX,
    ConnectionLimits,
    LimitedConnection,
)
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.processes.service_phase import PROBE_PATHS, ServicePhase
from shared.errors import ConfigurationError

RETRY_AFTER_SECONDS = 2
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REFUSED = "connections_refused"
_BACKLOG = 1024
_Reason = tuple[int, str, str]
_TOO_MANY: _Reason = (503, "no_connection_left", "every connection is in use; try again")
_OF_PEER: _Reason = (429, "too_many_connections", "too many connections from this address")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


RefusalFormatter = Callable[[web.BaseRequest | None, int, str, str], web.Response]
"""Formats a refusal of the listener itself like other responses of the server. Takes the request
(None for a refused connection), the status, a code and a sentence."""

RequestGuard = Callable[[web.BaseRequest], web.Response | None]
"""Returns the response that refuses a request, or None."""


def make_json_refusal(
    _request: web.BaseRequest | None, status: int, code: str, detail: str
) -> web.Response:
    """Return a refusal as a JSON object with `status`, `code` and `detail`."""
    return web.json_response({"status": status, "code": code, "detail": detail}, status=status)


@dataclass(slots=True)
class _Peer:
    """The connections of one client address."""

    open: set[LimitedConnection] = field(default_factory=set)
    waiting: dict[LimitedConnection, None] = field(default_factory=dict)
    """Those that wait for their client, the longest wait first."""


class LimitedServer(web.Server):
    """Creates and counts the connections of one listener, and refuses those above its limits."""

    def __init__(
        self,
        handler: Handler,
        *,
        name: str,
        refuse: RefusalFormatter = make_json_refusal,
        limits: ConnectionLimits | None = None,
        connection: type[LimitedConnection] = LimitedConnection,
        phase: ServicePhase | None = None,
        guard: RequestGuard = lambda _: None,
        forwarding: Forwarding | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.refuse = refuse
        self.limits = limits or ConnectionLimits()
        self._connection = connection
        self._phase = phase
        self._guard = guard
        self._forwarding = forwarding or Forwarding()
        self._successor: LimitedServer | None = None
        self._plain_handler = handler
        self._open: set[LimitedConnection] = set()
        self._peers: dict[str, _Peer] = {}
        self._waiting: dict[LimitedConnection, None] = {}
        """Those that wait for their client, the longest wait first."""
        self._probing: dict[LimitedConnection, _Reason] = {}
        """Those for health probes alone, the oldest first, with why other requests are refused."""
        self._refusals = {
            reason: _as_bytes(refuse(None, *reason)) for reason in (_TOO_MANY, _OF_PEER)
        }
        # Refused bodies are not read to the end, and bodies are never decompressed.
        options |= {"auto_decompress": False, "lingering_time": 0, "access_log": None}
        options |= dict.fromkeys(("max_line_size", "max_field_size"), LINE_BYTES_MAX)
        super().__init__(self._handle, **options)
        self.request_factory = self._forwarding.strip_paths(self.request_factory)

    def __call__(self) -> web.RequestHandler:
        if self._successor is not None:
            return self._successor()
        return self._connection(self, loop=self._loop, **self._kwargs)

    def hand_over(self, successor: LimitedServer) -> None:
        """Let another server handle the connections that are accepted from now on."""
        self._successor = successor

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def admit(self, connection: LimitedConnection) -> bytes | None:
        """Count a new connection, or return the response that refuses it.

        At a limit, the connection that has waited longest for its client is closed instead: one of
        the same client address if that is at its limit, else one of all.
        """
        limits = self.limits
        peer = self._peers.setdefault(connection.peer, _Peer())
        # A trusted proxy has the connections of many clients.
        is_proxy = len(peer.open) >= limits.connections_of_peer and self._forwarding.is_trusted(
            connection.peer
        )
        if len(peer.open) >= limits.connections_of_peer and not is_proxy:
            incidents.record_failure(_REFUSED, self.name, f"one address has {len(peer.open)} open")
            if not self._evict_longest_waiting(peer.waiting):
                return self._admit_probe(connection, _OF_PEER)
        elif len(self._open) >= limits.connections:
            incidents.record_failure(_REFUSED, self.name, f"{len(self._open)} are open")
            if not self._evict_longest_waiting(self._waiting):
                self._remove_if_empty(connection.peer, peer)
                return self._admit_probe(connection, _TOO_MANY)
        peer = self._peers.setdefault(connection.peer, peer)
        peer.open.add(connection)
        self._open.add(connection)
        return None

    def remove(self, connection: LimitedConnection) -> None:
        """Stop counting the connection. Can be called repeatedly."""
        self._probing.pop(connection, None)
        if connection not in self._open:
            return
        peer = self._peers[connection.peer]
        for held in (self._waiting, peer.waiting):
            held.pop(connection, None)
        for opened in (self._open, peer.open):
            opened.remove(connection)
        self._remove_if_empty(connection.peer, peer)
        if len(self._open) < self.limits.connections:
            incidents.record_success(_REFUSED, self.name)

    def set_waiting(self, connection: LimitedConnection, *, is_waiting: bool) -> None:
        """Record whether the connection waits for its client."""
        if connection not in self._open:
            return
        for held in (self._waiting, self._peers[connection.peer].waiting):
            if is_waiting:
                held.setdefault(connection)
            else:
                held.pop(connection, None)

    def _admit_probe(self, connection: LimitedConnection, reason: _Reason) -> bytes | None:
        """Keep a connection that is too many for health probes, or return its refusal.

        An orchestrator would otherwise restart a process that serves as much as it can.
        """
        if len(self._probing) >= self.limits.probe_connections:
            slow = next((one for one in self._probing if one.is_waiting), None)
            if slow is None:
                return self._refusals[reason]
            self.remove(slow)
            slow.abort()
        self._probing[connection] = reason
        return None

    def _evict_longest_waiting(self, waiting: dict[LimitedConnection, None]) -> bool:
        longest = next(iter(waiting), None)
        if longest is None:
            return False
        self.remove(longest)
        longest.abort()
        return True

    def _remove_if_empty(self, name: str, peer: _Peer) -> None:
        if not peer.open:
            self._peers.pop(name, None)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._forwarding.read(request)
        response = await self.respond(request)
        if response.prepared:
            return response
        self._forwarding.add_root_path(response)
        is_stopping = self._phase is not None and self._phase.is_stopping
        if is_stopping or (self._probing and request.protocol in self._probing):
            # The next request of this client comes on a new connection, to another process.
            response.force_close()
        return response

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response of the handler, or a refusal."""
        refusal = self._guard(request)
        if refusal is not None:
            return refusal
        if self._probing and request.path not in PROBE_PATHS:
            reason = self._probing.get(cast("LimitedConnection", request.protocol))
            if reason is not None:
                refusal = self.refuse(request, *reason)
                refusal.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
                return refusal
        if "Content-Encoding" in request.headers:
            fault = _find_encoding_fault(request)
            if fault is not None:
                answer = self.refuse(request, 415, "unsupported_content", fault)
                answer.headers["Accept-Encoding"] = "identity"
                return answer
        if "Expect" in request.headers:
            unmet = unmet_expectation(request)
            if unmet is not None:
                return self.refuse(request, 400, "bad_request", unmet)
        response = await self._plain_handler(request)
        incidents.record_success("request_not_read", self.name)
        return response


class LimitedRunner(web.AppRunner):
    """Runs an application on a `LimitedServer`."""

    __slots__ = ("_new_server",)

    def __init__(
        self,
        app: web.Application,
        *,
        name: str,
        refuse: RefusalFormatter = make_json_refusal,
        limits: ConnectionLimits | None = None,
        connection: type[LimitedConnection] = LimitedConnection,
        phase: ServicePhase | None = None,
        guard: RequestGuard = lambda _: None,
        forwarding: Forwarding | None = None,
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._new_server = partial(
            LimitedServer,
            name=name,
            refuse=refuse,
            limits=limits,
            connection=connection,
            phase=phase,
            guard=guard,
            forwarding=forwarding,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return self._new_server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )


async def listen(
    runner: web.BaseRunner, host: str, port: int, *, settings: str = "another port"
) -> None:
    """Listen on an address. All listeners of Darkroom are opened here.

    `settings` names the settings to change if the port is in use. Raises `ConfigurationError`.
    """
    if not isinstance(runner.server, LimitedServer):
        raise TypeError("a listener without deadlines and caps")
    _log_lack_of_descriptors_once(asyncio.get_running_loop())
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): another process has the"
            f" port; set {settings}, or 0 for a free one"
        ) from error


@asynccontextmanager
async def serve_http(
    host: str,
    port: int,
    routes: Iterable[web.RouteDef],
    *,
    name: str = "worker",
    refuse: RefusalFormatter = make_json_refusal,
    limits: ConnectionLimits | None = None,
    settings: str = "API_PORT or WORKER_HTTP_PORT",
    phase: ServicePhase | None = None,
) -> AsyncIterator[int]:
    """Serve these routes for the duration of the block. Yields the port, also if `port` is 0.

    Raises `ConfigurationError` if the port is not available.
    """
    app = web.Application()
    app.add_routes(routes)
    runner = LimitedRunner(
        app, name=name, refuse=refuse, limits=limits, phase=phase, shutdown_timeout=2
    )
    await runner.setup()
    try:
        await listen(runner, host, port, settings=settings)
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _find_encoding_fault(request: web.BaseRequest) -> str | None:
    """Return a sentence on an unsupported Content-Encoding, or None."""
    given = ",".join(request.headers.getall("Content-Encoding"))
    for name in given.split(","):
        if name.strip().lower() not in {"", "identity"}:
            return (
                f"the body must not be compressed: Content-Encoding {name.strip()[:40]!a} is not"
                " taken, identity is"
            )
    return None


def _as_bytes(refusal: web.Response) -> bytes:
    """Return the bytes of a refusal, for a connection without a handler."""
    body = refusal.body if isinstance(refusal.body, bytes) else b""
    head = (
        f"HTTP/1.1 {refusal.status} {refusal.reason}\r\n"
        f"Content-Type: {refusal.headers['Content-Type']}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Retry-After: {RETRY_AFTER_SECONDS}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _log_lack_of_descriptors_once(loop: asyncio.AbstractEventLoop) -> None:
    """Log a lack of descriptors as an incident, instead of a traceback for each connection."""
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
            incidents.record_failure(
                _REFUSED, "descriptors", error, fix="raise the limit: ulimit -n"
            )
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    handle.is_darkroom = True  # type: ignore[attr-defined]
    if not getattr(before, "is_darkroom", False):
        loop.set_exception_handler(handle)


def unmet_expectation(request: web.BaseRequest) -> str | None:
    """Return why the header `Expect` is refused, or None.

    aiohttp repeats an unknown expectation in its response, which fails for some values."""
    given = request.headers.getall("Expect", [])
    if [one.strip().lower() for one in given] in ([], ["100-continue"]):
        return None
    return "the only expectation that is met is `Expect: 100-continue`, given once"
