"""Decides whether a browser sends a request for a page of this console, or for another web page."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from shared.adapters.http.forwarding import is_https

_OWN_SITES = frozenset({"same-origin", "none"})


def explain_foreign(request: web.BaseRequest) -> str | None:
    """Return why the request is not one of this console's own forms, or None if it is.

    Browsers state the page of a POST in `Sec-Fetch-Site` or in `Origin`, and pages cannot change
    either. A request with neither comes from no current browser, and is refused as well.
    """
    sites = request.headers.getall("Sec-Fetch-Site", [])
    if sites:
        # It is decided by the browser. A proxy that changes Host does not matter here.
        is_own = _OWN_SITES.issuperset(site.strip().lower() for site in sites)
        return None if is_own else "it was sent by another web page (header 'Sec-Fetch-Site')"
    origins = request.headers.getall("Origin", [])
    if not origins:
        return "it states no page (header 'Origin'), as every browser does"
    if any(_host_of(origin) != request.host.lower() for origin in origins):
        return (
            "it was sent by another web page (header 'Origin'), or a proxy in front of the console"
            " does not pass on the header 'Host'"
        )
    return None


def is_encrypted(request: web.BaseRequest) -> bool:
    """Return whether the browser uses https, also through a proxy that ends TLS.

    `Origin` is stated by the browser itself, for its own page. It needs no trusted proxy.
    """
    origins = request.headers.getall("Origin", [])
    states_https = bool(origins) and all(one.startswith("https://") for one in origins)
    return states_https or is_https(request)


def _host_of(origin: str) -> str | None:
    try:
        parts = urlsplit(origin.strip())
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else None
