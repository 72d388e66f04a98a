"""Decides whether a request comes directly from a program on this machine.

While no API key exists, requests to the loopback address are trusted. But a proxy on this machine
forwards requests from other machines, and a browser sends requests of any web page. Both set
headers by which they are recognised.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

_PROXY_HEADERS = frozenset(
    {
        *("forwarded", "via", "proxy-connection", "client-ip", "x-client-ip", "x-real-ip"),
        *("x-real-port", "x-remote-ip", "x-remote-addr", "x-cluster-client-ip", "x-proxyuser-ip"),
        *("true-client-ip", "fastly-client-ip", "cf-connecting-ip", "x-host", "x-scheme"),
        *("x-rewrite-url", "x-amzn-trace-id"),
    }
)
_PROXY_HEADER_PREFIXES = (
    "x-forwarded",
    "x-original-",
    "x-envoy-",
    "cf-",
    "x-azure-",
    "x-appengine-",
)
_BROWSER_HEADERS = frozenset({"sec-fetch-site", "origin", "referer"})
_OWN_PAGE_SITES = frozenset({"same-origin", "none"})
"""The values of Sec-Fetch-Site for requests of `/docs`, and for a typed address."""


def explain_indirect(request: web.BaseRequest) -> str | None:
    """Return why a request is not direct, or None if it is.

    The text completes the sentence "this request ...".
    """
    if not _names_loopback(request.host):
        return f"was sent to the name {request.host[:80]!r}"
    if request.version < HttpVersion11:
        # The default of nginx for requests to the servers behind it.
        return "was sent as HTTP/1.0, as by a proxy"
    is_of_a_browser = False
    for name in request.headers:
        lowered = name.lower()
        if lowered in _PROXY_HEADERS or lowered.startswith(_PROXY_HEADER_PREFIXES):
            return f"came through a proxy (header {name[:80]!r})"
        is_of_a_browser |= lowered in _BROWSER_HEADERS
    return _explain_web_page(request) if is_of_a_browser else None


def _explain_web_page(request: web.BaseRequest) -> str | None:
    own = f"http://{request.host}".lower()

    def values_of(name: str) -> list[str]:
        return [value.strip().lower() for value in request.headers.getall(name, [])]

    is_foreign = {
        "Sec-Fetch-Site": not _OWN_PAGE_SITES.issuperset(values_of("Sec-Fetch-Site")),
        "Origin": any(origin != own for origin in values_of("Origin")),
        "Referer": any(_origin_of(page) != own for page in values_of("Referer")),
    }
    named = next((name for name, is_so in is_foreign.items() if is_so), None)
    return f"came from another web page (header {named!r})" if named else None


def _origin_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}".lower()


@lru_cache(maxsize=64)
def _names_loopback(host_header: str) -> bool:
    try:
        return is_loopback_host(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False


def is_loopback_host(host: str) -> bool:
    """Return whether `host`, a name or an address, can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
