"""Which URLs Kie may be asked to fetch: public ones, judged by their text alone.

Nothing is resolved here, so a public name that points at a private address passes. What is
refused could not work (Kie is outside), or could point Kie at its own insides.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

URL_LENGTH_MAX = 2048
_HOST_LENGTH_MAX = 253
_LABEL_LENGTH_MAX = 63
_LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_PRIVATE_ZONES = (
    *("local", "localhost", "localdomain", "internal", "intranet", "private"),
    *("lan", "home", "corp", "home.arpa", "onion", "invalid"),
)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_RELAY_IPV6 = ipaddress.IPv6Network("2002::/16")
"""6to4: the address carries an IPv4 address that may be private."""
_CLOUD_METADATA = frozenset({"168.63.129.16"})
"""Addresses in public ranges that a cloud answers on the inside."""

_PUBLIC = "must be a public address that Kie can fetch from outside"


def check_public_url(value: object) -> str:
    """Return the URL unchanged, or raise `ValueError` with a sentence saying what is wrong.

    The sentence never repeats more than the host: a signed URL's query is a secret.
    """
    if not isinstance(value, str):
        raise ValueError("must be text: a public http:// or https:// URL")
    if not value:
        raise ValueError("is empty; give a public http:// or https:// URL")
    if len(value) > URL_LENGTH_MAX:
        raise ValueError(f"is {len(value)} characters long; at most {URL_LENGTH_MAX} are allowed")
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in value):
        raise ValueError("must not contain spaces, control characters or backslashes; encode them")
    _check_host(_host_of(_split(value)))
    return value


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable_port = parts.port != 0
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password before the host")
    if not usable_port:
        raise ValueError("has port 0, which nobody can connect to")
    return parts


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        # What a resolver would make of look-alike letters, full-width digits and foreign dots.
        return (host if host.isascii() else host.encode("idna").decode()).lower().removesuffix(".")
    except UnicodeError:
        raise ValueError(f"has a host that no resolver accepts: {host[:60]!r}") from None


def _check_host(host: str) -> None:
    if not host:
        raise ValueError("has no host; give a public http:// or https:// URL")
    if ":" in host:
        _check_ipv6(host)
    elif _ends_in_number(host):
        _check_ipv4(host)
    else:
        _check_name(host)


def _ends_in_number(host: str) -> bool:
    # As browsers decide it: such a host is an address, also as `127.1`, `0x7f.1` or one number.
    last = host.rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")


def _check_ipv4(host: str) -> None:
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError(
            f"has the host {host[:60]!r}: an IP address is written as four decimal numbers"
        ) from None
    reachable = address.is_global and not address.is_multicast and not address.is_reserved
    if not reachable or host in _CLOUD_METADATA:
        raise ValueError(f"points at {host}, which is not public; it {_PUBLIC}")


def _check_ipv6(host: str) -> None:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"has the host {host[:60]!r}, which is not an IPv6 address") from None
    # Public addresses begin with 2 or 3. All that embeds an IPv4 address (mapped, translated)
    # lies outside, except 6to4.
    public = address.is_global and address in _PUBLIC_IPV6 and address not in _RELAY_IPV6
    if address.scope_id is not None or not public:
        raise ValueError(f"points at [{host[:60]}], which is not public; it {_PUBLIC}")


def _check_name(host: str) -> None:
    labels = host.split(".")
    well_formed = len(host) <= _HOST_LENGTH_MAX and all(
        0 < len(label) <= _LABEL_LENGTH_MAX and _LABEL_CHARACTERS.issuperset(label)
        for label in labels
    )
    if not well_formed:
        raise ValueError(f"has a host that no resolver accepts: {host[:60]!r}")
    private = any(f".{host}".endswith(f".{zone}") for zone in _PRIVATE_ZONES)
    if len(labels) == 1 or private:
        raise ValueError(f"points at {host[:60]!r}, which is not public; it {_PUBLIC}")
