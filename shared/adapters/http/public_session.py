"""An HTTP client session that connects to public addresses only.

Each address is checked where its socket is opened, so the address that was checked is the one that
is connected to: a name that resolves differently later has no effect. Through a proxy, the name is
resolved and checked here, and the proxy is asked for a tunnel to the address: it resolves nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType

import aiohttp
from aiohttp import AddrInfoType, ClientResponse, ClientSession, ClientTimeout
from aiohttp.abc import AbstractResolver
from yarl import URL

from shared.adapters.http.proxy_options import find_proxy_fault, proxy_options
from shared.adapters.tcp_keepalive import open_keep_alive_socket
from shared.domain.allowed_receivers import AllowedReceivers
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.domain.public_addresses import find_address_fault
from shared.installed_version import installed_version

CONNECT_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15.0


@dataclass(slots=True)
class _Attempt:
    """The request that opens a socket."""

    host: str = ""
    faults: list[str] = field(default_factory=list)
    """Why addresses of the host were refused."""
    has_opened: bool = False
    """Whether one of its addresses is allowed."""


_attempt: ContextVar[_Attempt | None] = ContextVar("attempt", default=None)
"""The tasks that open the socket of a request inherit the value."""


class ForbiddenAddress(OSError):
    """A host resolved to an address that is not public, or the proxy would resolve it."""


class PublicSession:
    """A session for requests of at most `timeout_seconds` each, in total.

    `allow_loopback` allows this machine, for development. `receivers` are allowed too; they are for
    webhooks alone. Use it as an async context manager. The caller closes the resolver.
    """

    def __init__(
        self,
        *,
        resolver: AbstractResolver,
        timeout_seconds: float,
        allow_loopback: bool = False,
        receivers: AllowedReceivers | None = None,
        proxies: OutboundProxies = NO_PROXIES,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds
        self._timeout = ClientTimeout(
            total=timeout_seconds, sock_connect=min(CONNECT_SECONDS, timeout_seconds)
        )
        self._allow_loopback, self._receivers = allow_loopback, receivers
        self._proxies = proxies
        self._headers = {"User-Agent": f"Darkroom/{installed_version('0')}", **(headers or {})}
        self._direct: ClientSession | None = None
        self._proxied: ClientSession | None = None

    async def __aenter__(self) -> PublicSession:
        self._direct = self._open(
            aiohttp.TCPConnector(
                # The caller limits its requests before their timeout starts.
                limit=0,
                resolver=self._resolver,
                # The cache of aiohttp would never expire a name.
                use_dns_cache=False,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                socket_factory=self._open_socket,
            )
        )
        # It connects to proxies alone, which may have any address. A tunnel is for one request, so
        # that none is used under another name.
        self._proxied = self._open(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for session in (self._direct, self._proxied):
            if session is not None:
                await session.close()

    def _open(self, connector: aiohttp.BaseConnector) -> ClientSession:
        return ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            # A small response that unpacks to a large one stays small.
            auto_decompress=False,
            trust_env=False,
        )

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> ClientResponse:
        """Send a request, and follow no redirects. Check the URL with `find_url_fault` first.

        Raises `ForbiddenAddress` if no address of the host is allowed.
        """
        if self._direct is None or self._proxied is None:
            raise RuntimeError("the session is not open: use it inside `async with`")
        host = (url.raw_host or "").lower().removesuffix(".")
        options = proxy_options(self._proxies, str(url))
        if options:
            async with asyncio.timeout(self._timeout_seconds):
                address = await self._tunnel_address(url, host)
            try:
                return await self._proxied.request(
                    method,
                    url.with_host(address),
                    headers={**(headers or {}), "Host": _host_header(url)},
                    data=data,
                    allow_redirects=False,
                    server_hostname=host,
                    **options,
                )
            except aiohttp.ClientError as error:
                fault = find_proxy_fault(error, self._proxies.setting_for(url.scheme))
                if fault is None:
                    raise
                raise aiohttp.ClientConnectionError(fault) from error
        attempt = _Attempt(host)
        token = _attempt.set(attempt)
        try:
            return await self._direct.request(
                method, url, headers=headers, data=data, allow_redirects=False
            )
        except aiohttp.ClientConnectorError as error:
            # With several addresses, the error of the library lists them, without its class.
            if attempt.faults and not attempt.has_opened:
                raise ForbiddenAddress(attempt.faults[0]) from error
            raise
        finally:
            _attempt.reset(token)

    async def _tunnel_address(self, url: URL, host: str) -> str:
        """Return the checked address to which the proxy opens a tunnel."""
        if url.scheme != "https":
            setting = self._proxies.setting_for(url.scheme)
            raise ForbiddenAddress(
                f"is reached through the proxy of {setting}, which would choose the address itself;"
                " use https://, or name the host in NO_PROXY"
            )
        try:
            addresses = [str(ip_address(host))]
        except ValueError:
            found = await self._resolver.resolve(host, url.port or 443)
            # IPv4 first: many proxies have no route for IPv6.
            addresses = sorted((one["host"] for one in found), key=lambda one: ":" in one)
        faults = [self._fault(address, host) for address in addresses]
        for address, fault in zip(addresses, faults, strict=True):
            if fault is None:
                return address
        raise ForbiddenAddress(faults[0] if faults else "has no address")

    def _open_socket(self, info: AddrInfoType) -> socket.socket:
        attempt = _attempt.get() or _Attempt()
        fault = self._fault(str(info[4][0]), attempt.host)
        if fault is not None:
            attempt.faults.append(fault)
            raise ForbiddenAddress(fault)
        attempt.has_opened = True
        return open_keep_alive_socket(info)

    def _fault(self, address: str, host: str) -> str | None:
        return find_address_fault(
            address, allow_loopback=self._allow_loopback, receivers=self._receivers, host=host
        )


def _host_header(url: URL) -> str:
    port = "" if url.explicit_port is None else f":{url.explicit_port}"
    return f"{url.host_subcomponent}{port}"
