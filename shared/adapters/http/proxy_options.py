"""The options by which a request of aiohttp goes through a proxy.

The variables of the environment are read by the settings. aiohttp does not read them, because it
would also read passwords from `~/.netrc`.
"""

from __future__ import annotations

import base64
from typing import TypedDict

from yarl import URL

from shared.domain.outbound_proxies import OutboundProxies


class ProxyOptions(TypedDict, total=False):
    """The keyword arguments of a request. Empty for a direct connection."""

    proxy: URL
    proxy_headers: dict[str, str]


def proxy_options(proxies: OutboundProxies, url: str) -> ProxyOptions:
    """Return the options for a request to this URL. The password is in none of aiohttp's errors."""
    server = proxies.for_url(url)
    if server is None:
        return {}
    if server.user is None:
        return {"proxy": URL(server.url)}
    known = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    # aiohttp sends it as Proxy-Authorization, to the proxy alone.
    return {"proxy": URL(server.url), "proxy_headers": {"Authorization": f"Basic {known}"}}
