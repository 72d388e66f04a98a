"""Sends each request directly or through the proxy of the environment for its URL."""

from __future__ import annotations

import httpx2

from darkroom_client.http.proxies import Proxies, ProxyServer, failed_through


class AsyncProxyTransport(httpx2.AsyncBaseTransport):
    """The connections of one client, direct ones and those of each proxy.

    `httpx2` would refuse a client for any variable that it cannot read, needed or not.
    """

    def __init__(self, proxies: Proxies, url: str) -> None:
        """Prepare connections to the API's URL. Raises `ProxyUnusable`."""
        self._proxies = proxies
        self._transports: dict[ProxyServer | None, httpx2.AsyncHTTPTransport] = {}
        self._transport(proxies.for_url(httpx2.URL(url)))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        server = self._proxies.for_url(request.url)
        try:
            return await self._transport(server).handle_async_request(request)
        except httpx2.RequestError as failed:
            if server is None:
                raise
            raise failed_through(server, failed) from failed

    def _transport(self, server: ProxyServer | None) -> httpx2.AsyncHTTPTransport:
        found = self._transports.get(server)
        if found is None:
            proxy = None if server is None else httpx2.Proxy(server.url)
            made = httpx2.AsyncHTTPTransport(proxy=proxy)
            found = self._transports.setdefault(server, made)
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        for one in self._transports.values():
            await one.aclose()
