"""The HTTP server of the Darkroom in memory: a thread per connection, on a port of loopback."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from darkroom_client.testing.problem import Refusal


@dataclass
class MemoryRequest:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes
    account_id: str = ""
    """The account of its key."""
    repeated: frozenset[str] = frozenset()
    """Parameters that are given more than once."""
    idempotency_keys: Sequence[str] = ()
    """The values of the header `Idempotency-Key`."""


@dataclass
class MemoryResponse:
    """One answer."""

    status: int = 200
    body: Any = None
    """JSON, bytes, or an iterator of bytes for a stream."""
    headers: Mapping[str, str] = field(default_factory=dict)


Handle = Callable[[MemoryRequest], MemoryResponse]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    handle: Handle

    def __init__(self, address: tuple[str, int], handle: Handle) -> None:
        super().__init__(address, _Connection)
        self.handle = handle
        self._idle: set[socket.socket] = set()
        """The connections that wait for their next request."""
        self._is_closing = False
        self._lock = threading.Lock()

    def mark(self, connection: socket.socket, *, is_idle: bool) -> bool:
        """Note whether a connection waits for a request. Return whether it is to be closed."""
        with self._lock:
            if is_idle and not self._is_closing:
                self._idle.add(connection)
            else:
                self._idle.discard(connection)
            return self._is_closing

    def close_idle(self) -> None:
        """Close the connections without a request, and the others after their answer."""
        with self._lock:
            self._is_closing = True
            for connection in self._idle:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._idle.clear()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.close_connection = self.server.mark(self.connection, is_idle=True)

    def finish(self) -> None:
        self.server.mark(self.connection, is_idle=False)
        super().finish()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: tests have their own output."""

    def _answer(self) -> None:
        self.server.mark(self.connection, is_idle=False)
        self._answer_one()
        if self.server.mark(self.connection, is_idle=True):
            self.close_connection = True

    def _answer_one(self) -> None:
        request_id = self.headers.get("X-Request-Id") or uuid.uuid4().hex
        length = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        given = parse_qsl(parts.query, keep_blank_values=True)
        names = Counter(name for name, _ in given)
        request = MemoryRequest(
            self.command,
            parts.path,
            dict(given),
            {name.lower(): _utf8(value) for name, value in self.headers.items()},
            self.rfile.read(length),
            repeated=frozenset(name for name, count in names.items() if count > 1),
            idempotency_keys=[_utf8(key) for key in self.headers.get_all("Idempotency-Key", [])],
        )
        try:
            response = self.server.handle(request)
        except Refusal as refusal:
            response = refusal_response(refusal)
        try:
            self._send(response, request_id)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, response: MemoryResponse, request_id: str) -> None:
        body, headers = response.body, dict(response.headers)
        if isinstance(body, Iterator):
            self._start(response.status, {**headers, "Transfer-Encoding": "chunked"}, request_id)
            for chunk in body:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return
        if body is not None and not isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(body, ensure_ascii=False).encode()
        content = body or b""
        if response.status != 204:
            headers["Content-Length"] = str(len(content))
        self._start(response.status, headers, request_id)
        self.wfile.write(content)

    def _start(self, status: int, headers: Mapping[str, str], request_id: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-Request-Id": request_id}.items():
            self.send_header(name, value)
        self.end_headers()


def _utf8(value: str) -> str:
    """Return the value of a header, which the standard library takes for Latin-1."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def refusal_response(refusal: Refusal) -> MemoryResponse:
    """Return the problem of a refusal as an answer."""
    headers = {"Content-Type": "application/problem+json"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="darkroom"'
    if refusal.status in {429, 503}:
        headers["Retry-After"] = "0"
    return MemoryResponse(refusal.status, refusal.body, headers)


class HttpServer:
    """Serves requests until it is closed."""

    def __init__(self, handle: Handle, port: int) -> None:
        self._server = _Server(("127.0.0.1", port), handle)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="darkroom-http",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, and no more requests on those there are."""
        self._server.shutdown()
        self._server.close_idle()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True)
class Route:
    """A method and a path, with `{name}` for its parts."""

    method: str
    path: str
    handle: Callable[..., MemoryResponse]

    def match(self, request: MemoryRequest) -> list[str] | None:
        """Return the parts of the path, or None if the request is for another route."""
        asked, here = request.path.split("/"), self.path.split("/")
        if len(asked) != len(here):
            return None
        pairs = list(zip(here, asked, strict=True))
        if any(not one.startswith("{") and one != given for one, given in pairs):
            return None
        return [unquote(given) for one, given in pairs if one.startswith("{")]
