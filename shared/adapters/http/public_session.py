"""An HTTP client session that connects to public addresses only.

Each address is checked where its socket is opened, so the address that was checked is the one that
is connected to: a name that resolves differently later has no effect. Proxies of the environment
are not used, because they would connect instead.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextvars import ContextVar

import aiohttp
from aiohttp import AddrInfoType, ClientRequest, ClientResponse, ClientSession, ClientTimeout
from aiohttp.abc import AbstractResolver

from shared.adapters.tcp_keepalive import open_keep_alive_socket
from shared.domain.allowed_receivers import AllowedReceivers
from shared.domain.public_addresses import find_address_fault
from shared.installed_version import installed_version

CONNECT_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15.0

_requested_host: ContextVar[str] = ContextVar("requested_host", default="")
"""The host of the request that opens a socket. The tasks that open it inherit the value."""


class ForbiddenAddress(OSError):
    """A host resolved to an address that is not public."""


def open_public_session(
    *,
    resolver: AbstractResolver,
    timeout_seconds: float,
    allow_loopback: bool = False,
    receivers: AllowedReceivers | None = None,
    headers: Mapping[str, str] | None = None,
) -> ClientSession:
    """Return a session for requests of at most `timeout_seconds` each, in total.

    A request to another address fails with `ForbiddenAddress`, as the `os_error` of aiohttp's
    `ClientConnectorError`. `allow_loopback` allows this machine, for development. `receivers` are
    allowed too; they are for webhooks alone. Check the URL with `find_url_fault` first, and pass
    `allow_redirects=False`. The caller closes the session and the resolver.
    """

    def open_socket(info: AddrInfoType) -> socket.socket:
        fault = find_address_fault(
            str(info[4][0]),
            allow_loopback=allow_loopback,
            receivers=receivers,
            host=_requested_host.get(),
        )
        if fault is not None:
            raise ForbiddenAddress(fault)
        return open_keep_alive_socket(info)

    return ClientSession(
        connector=aiohttp.TCPConnector(
            # The caller limits its requests before their timeout starts.
            limit=0,
            resolver=resolver,
            # The cache of aiohttp would never expire a name.
            use_dns_cache=False,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            socket_factory=open_socket,
        ),
        timeout=ClientTimeout(
            total=timeout_seconds, sock_connect=min(CONNECT_SECONDS, timeout_seconds)
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"Darkroom/{installed_version('0')}", **(headers or {})},
        # A small response that unpacks to a large one stays small.
        auto_decompress=False,
        middlewares=(_note_host,),
        trust_env=False,
    )


async def _note_host(request: ClientRequest, handler: aiohttp.ClientHandlerType) -> ClientResponse:
    token = _requested_host.set((request.url.raw_host or "").lower().removesuffix("."))
    try:
        return await handler(request)
    finally:
        _requested_host.reset(token)
