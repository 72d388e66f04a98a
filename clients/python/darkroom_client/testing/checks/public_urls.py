"""Refuses URLs that are not public, as the API does. URLs of this server are public to it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_PRIVATE_ZONES = (
    *(".local", ".localhost", ".localdomain", ".internal", ".intranet", ".private"),
    *(".lan", ".home", ".corp", ".home.arpa", ".onion", ".invalid"),
)
_HINT = "; it must be a public address of the internet"
WEBHOOK_HINT = f"{_HINT}, or WEBHOOKS_ALLOW must name it"


def find_url_fault(url: str, *, allow_loopback: bool, hint: str = _HINT) -> str | None:
    """Return a sentence on why this URL is not allowed, or None. `hint` ends the sentence."""
    if any(one.isspace() or not one.isprintable() or one == "\\" for one in url):
        return "must not contain spaces, control characters or backslashes; encode them"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return "has a host or port that cannot be read"
    if parts.scheme not in {"http", "https"}:
        return "must begin with http:// or https://"
    if "@" in parts.netloc:
        return "must not carry a user name or password before the host"
    if port == 0:
        return "has port 0, which nobody can connect to"
    if not host:
        return "has no host"
    return _host_fault(host, allow_loopback, hint)


def _host_fault(host: str, allow_loopback: bool, hint: str) -> str | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None:
        if address.is_global or (allow_loopback and address.is_loopback):
            return None
        return f"points at {address}, which is not public{hint}"
    if allow_loopback and host.rpartition(".")[2] == "localhost":
        return None
    if "." not in host or f".{host}".endswith(_PRIVATE_ZONES):
        return f"points at {host[:60]!r}, which is not public{hint}"
    return None
