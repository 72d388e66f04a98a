"""The options by which a request of aiohttp goes through a proxy.

The variables of the environment are read by the settings. aiohttp does not read them, because it
would also read passwords from `~/.netrc`.
"""

from __future__ import annotations

import base64
import os
from typing import TypedDict

import aiohttp
from yarl import URL

from shared.domain.outbound_proxies import OutboundProxies

_WORDS_LENGTH = 80
_LOGIN = "check the user name and the password"
_PERMISSION = "ask who runs it whether it permits this host and port"


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


def find_proxy_fault(error: BaseException, setting: str) -> str | None:
    """Return what the proxy of this setting did to a request, or None for another error.

    The address of the proxy is left out: callers read these sentences as well.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        words = "".join(one for one in error.message[:_WORDS_LENGTH] if one.isprintable())
        told = f"{error.status} {words}".rstrip()
        # 401 is from tinyproxy, for a wrong password.
        advice = _LOGIN if error.status in {401, 407} else _PERMISSION
        return f"the proxy of {setting} refuses the tunnel ({told}): {advice}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        # asyncio's own words have the address.
        number = error.os_error.errno
        why = os.strerror(number) if number else type(error.os_error).__name__
        return f"the proxy of {setting} does not answer ({why})"
    return None
