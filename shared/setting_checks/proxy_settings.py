"""Reads the settings about proxies in front of the API: their addresses, and the root path."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_OWN_SEGMENTS = frozenset(
    {
        *("callbacks", "console", "docs", "healthz", "metrics", "openai", "openapi.json"),
        *("readyz", "startupz", "v1"),
    }
)
"""The first segments of the API's own paths. A root path that began with one would be ambiguous."""


def read_root_path(value: str) -> str:
    """Return the root path without a slash at its end. Empty means none.

    Raises `ValueError`.
    """
    path = value.rstrip("/")
    if not path:
        return ""
    segments = path.split("/")[1:]
    if not _ROOT_PATH.fullmatch(path) or {".", ".."} & set(segments):
        raise ValueError(
            f"{value!r:.80} must be a path such as /darkroom: letters, digits and - . _ ~ between"
            " slashes"
        )
    if segments[0] in _OWN_SEGMENTS:
        raise ValueError(f"{value!r:.80} begins like a path of the API itself: /{segments[0]}")
    return path


def read_networks(value: str) -> tuple[Network, ...]:
    """Return the networks of a list of addresses and CIDR ranges, separated by commas.

    Raises `ValueError`.
    """
    found = []
    for text in filter(None, (part.strip() for part in value.split(","))):
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise ValueError(
                f"{text!r:.60} is no address or range: {error}; allowed are such as 10.0.0.5,"
                " 10.0.0.0/8 or fd00::/8, separated by commas"
            ) from None
    return tuple(found)
