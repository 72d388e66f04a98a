"""One HTTP exchange with Kie. It is sent at most once, and the result states whether it was sent.

aiohttp repeats a GET whose reused connection broke. Here a broken exchange is returned instead, so
that every query that the throttle permits reaches Kie at most once.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace, TracebackType
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp import (
    BaseConnector,
    ClientConnectorError,
    ClientError,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    InvalidURL,
    ServerDisconnectedError,
    TraceConfig,
)
from pydantic import SecretStr

from shared.adapters.http.proxy_options import find_proxy_fault, proxy_options
from shared.adapters.tcp_keepalive import open_keep_alive_socket
from shared.catalog import KieRequest, KieResponse
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.errors import ConfigurationError
from shared.installed_version import user_agent

BODY_BYTES_MAX = 1024 * 1024
"""A longer response is not read to its end and counts as unreadable."""
CONNECT_SECONDS_MAX = 5.0
_KEEP_ALIVE_SECONDS = 15
_TEXT_LENGTH = 500
_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class NeverSent:
    """No connection was made, so Kie has received nothing."""

    message: str
    wrong_endpoint: bool = False
    """Whether another server answers there: the TLS handshake with Kie failed."""


@dataclass(frozen=True, slots=True)
class ReplyLost:
    """The request may have reached Kie, but no complete response came back."""

    message: str
    timed_out: bool


class _ConnectionBrokenError(ClientError):
    """Replaces the errors after which aiohttp would repeat a GET."""


@dataclass(slots=True)
class _RequestProgress:
    """How far one request got, from the trace signals of aiohttp."""

    started: bool = False
    connected: bool = False

    @property
    def certainly_never_sent(self) -> bool:
        return self.started and not self.connected


class KieHttp:
    """The HTTP client of one Kie account, with one connection pool. Use it as an async context
    manager.

    Only a POST is traced, because only for a POST it matters whether it was sent, and a trace makes
    each request more expensive.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: SecretStr,
        timeout_seconds: float,
        connections: int,
        proxies: OutboundProxies = NO_PROXIES,
    ) -> None:
        self.base_url = _checked_base_url(base_url)
        self._api_key = _checked_key(api_key)
        self._timeout_seconds = timeout_seconds
        self._connections = connections
        self._proxy = proxy_options(proxies, self.base_url)
        self._proxy_setting = proxies.setting_for(urlsplit(self.base_url).scheme)
        self._traced: ClientSession | None = None
        self._untraced: ClientSession | None = None

    async def __aenter__(self) -> KieHttp:
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            socket_factory=open_keep_alive_socket,
        )
        self._traced = self._open(connector, [_progress_tracer()])
        self._untraced = self._open(connector, [])
        return self

    def _open(self, connector: BaseConnector, traces: list[TraceConfig]) -> ClientSession:
        return ClientSession(
            connector=connector,
            connector_owner=bool(traces),
            timeout=ClientTimeout(
                total=self._timeout_seconds,
                sock_connect=min(CONNECT_SECONDS_MAX, self._timeout_seconds),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": user_agent(),
                "Accept": "application/json",
                "Authorization": f"Bearer {self._api_key.get_secret_value()}",
            },
            middlewares=(_never_resend,),
            trace_configs=traces,
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for session in (self._untraced, self._traced):
            if session is not None:
                await session.close()

    async def exchange(self, request: KieRequest) -> KieResponse | NeverSent | ReplyLost:
        """Send the request once. Returns the response, or why there is none."""
        session = self._traced if request.method == "POST" else self._untraced
        if session is None or session.closed:
            raise RuntimeError("the Kie client is not open: use it inside `async with`")
        progress = _RequestProgress()
        try:
            return await self._send(session, request, progress)
        except TimeoutError as error:
            return self._classify_failure(error, progress, timed_out=True)
        # Any error after the request may have been written leaves a paid task possible. So no error
        # of the library may escape and be taken for a request that was not sent.
        except Exception as error:
            return self._classify_failure(error, progress, timed_out=False)

    async def _send(
        self, session: ClientSession, request: KieRequest, progress: _RequestProgress
    ) -> KieResponse:
        async with session.request(
            request.method,
            self.base_url + request.path,
            params=dict(request.query),
            json=None if request.body is None else dict(request.body),
            allow_redirects=False,
            trace_request_ctx=progress,
            **self._proxy,
        ) as response:
            content, is_whole = await _read_body(response)
        try:
            body = orjson.loads(content) if is_whole else None
        except orjson.JSONDecodeError:
            body = None
        # The text is needed only where the body is not a JSON object.
        text = "" if type(body) is dict else _start(content)
        location = _location(response) if 300 <= response.status < 400 else ""
        return KieResponse(response.status, body, text, location)

    def _classify_failure(
        self, error: Exception, progress: _RequestProgress, *, timed_out: bool
    ) -> NeverSent | ReplyLost:
        unsent = isinstance(error, ClientConnectorError | ConnectionTimeoutError | InvalidURL)
        if unsent or progress.certainly_never_sent:
            cause = "it took too long" if timed_out else self._describe_unsent(error)
            message = f"no connection to Kie at {self.base_url}: {cause}"
            return NeverSent(message, wrong_endpoint=isinstance(error, ClientSSLError))
        if timed_out:
            return ReplyLost(f"no answer from Kie within {self._timeout_seconds:g} s", True)
        return ReplyLost(f"the connection to Kie broke: {_describe(error)}", False)

    def _describe_unsent(self, error: Exception) -> str:
        return find_proxy_fault(error, self._proxy_setting) or _describe(error)


def _location(response: ClientResponse) -> str:
    # A query string may hold a secret.
    return response.headers.get("Location", "").partition("?")[0][:200]


def _start(content: bytes) -> str:
    return content[: _TEXT_LENGTH * 4].decode("utf-8", errors="replace")[:_TEXT_LENGTH]


async def _read_body(response: ClientResponse) -> tuple[bytes, bool]:
    content = bytearray()
    while chunk := await response.content.read(_CHUNK_BYTES):
        content += chunk
        if len(content) > BODY_BYTES_MAX:
            response.close()
            return bytes(content), False
    return bytes(content), True


async def _never_resend(
    request: ClientRequest, handler: aiohttp.ClientHandlerType
) -> ClientResponse:
    try:
        return await handler(request)
    except ClientConnectorError:
        raise
    except (ClientOSError, ServerDisconnectedError) as error:
        # aiohttp repeats a GET after exactly these two errors, outside of this middleware.
        raise _ConnectionBrokenError(_describe(error)) from error


def _progress_tracer() -> TraceConfig:
    recorder = TraceConfig()

    async def note_start(_: ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.started = True

    async def note_connection(_: ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.connected = True

    recorder.on_request_start.append(note_start)
    recorder.on_connection_create_end.append(note_connection)
    recorder.on_connection_reuseconn.append(note_connection)
    return recorder


def _describe(error: BaseException) -> str:
    if isinstance(error, _ConnectionBrokenError):
        return str(error)
    text = str(error) or "no further words"
    return f"{type(error).__name__} ({text})"


def _checked_base_url(base_url: str) -> str:
    trimmed = base_url.rstrip("/")
    parts = urlsplit(trimmed)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(
            "KIE_BASE_URL must be an http:// or https:// URL with a host and no user name,"
            " such as https://api.kie.ai"
        )
    if parts.path.endswith("/api/v1"):
        raise ConfigurationError(
            f"KIE_BASE_URL is {trimmed!r}: leave out /api/v1, every path brings its own"
        )
    return trimmed


def _checked_key(api_key: SecretStr) -> SecretStr:
    text = api_key.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            "KIE_API_KEY must be one word of printable ASCII; copy it again from"
            " https://kie.ai/api-key (it is not shown here)"
        )
    return api_key
