"""Whether a request comes straight from a program on this machine.

While no API key exists, whoever reaches the loopback address is trusted. A proxy on this machine
passes on what strangers ask, and a browser sends what any web page asks: both show in the headers.
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
"""What a browser says of a request of `/docs`, and of an address that was typed in."""


def explain_indirect(request: web.BaseRequest) -> str | None:
    """Return what tells that somebody else than a program of this machine asks, or None.

    The sign completes the sentence "this request ...".
    """
    if not _names_loopback(request.host):
        return f"was sent to the name {request.host[:80]!r}"
    if request.version < HttpVersion11:
        # What nginx speaks to the servers behind it unless told otherwise.
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

    def said(name: str) -> list[str]:
        return [value.strip().lower() for value in request.headers.getall(name, [])]

    is_foreign = {
        "Sec-Fetch-Site": not _OWN_PAGE_SITES.issuperset(said("Sec-Fetch-Site")),
        "Origin": any(origin != own for origin in said("Origin")),
        "Referer": any(_origin_of(page) != own for page in said("Referer")),
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
