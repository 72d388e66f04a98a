"""Decides which URLs and addresses are public. Pure: does no DNS queries.

Our workers send webhooks to URLs of callers, and Kie fetches images from them. Without these rules
a caller could make these servers connect to addresses that only they can reach: private networks,
metadata services, their own ports. A URL is checked by its text when a caller sends it. Each
address that its host resolves to is checked again when a connection is opened, so a host name
whose address changes later is refused too.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, urlsplit

from shared.domain.allowed_receivers import HOST_LABEL, LOOPBACKS, AllowedReceivers

_HOST_LENGTH_MAX = 253
_PRIVATE_ZONES = (
    *("local", "localhost", "localdomain", "internal", "intranet", "private"),
    *("lan", "home", "corp", "home.arpa", "onion", "invalid"),
)
# An explicit list: `ipaddress.is_global` differs between Python versions, and includes multicast
# and relays.
_NOT_PUBLIC_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # In a public range, but an internal service of a cloud provider.
        "168.63.129.16/32",
    )
)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
# Protocol assignments with Teredo, documentation twice, and 6to4, which carries an IPv4 address.
_NOT_PUBLIC_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_HOST_CATEGORIES = frozenset({"Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"})
"""Letters, marks and digits. Characters that this Unicode version does not know are excluded."""
_INVISIBLE_CHARACTERS = frozenset(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0000, 0xE1000),
    )
)
"""Invisible letters and marks, which some programs remove."""
_HINT = "; it must be a public address of the internet"


def find_url_fault(
    url: str, *, allow_loopback: bool, receivers: AllowedReceivers | None = None
) -> str | None:
    """Return a sentence on why this URL is not allowed, or None.

    `allow_loopback` allows this machine, by name or address, for development. `receivers` is given
    for the URLs of webhooks alone: what it names is allowed too, and the sentence says by which
    setting an address could be. The sentence contains at most the host, because the rest of the
    URL may be a secret.
    """
    if any(one.isspace() or not one.isprintable() or one == "\\" for one in url):
        return "must not contain spaces, control characters or backslashes; encode them"
    try:
        parts = urlsplit(url)
        host = _host_of(parts)
        has_usable_port = parts.port != 0
    except ValueError:
        return "has a host or port that cannot be read"
    if parts.scheme not in {"http", "https"}:
        return "must begin with http:// or https://"
    if "@" in parts.netloc:
        return "must not carry a user name or password before the host"
    if not has_usable_port:
        return "has port 0, which nobody can connect to"
    return _host_fault(host, allow_loopback=allow_loopback, receivers=receivers)


def find_address_fault(
    address: str,
    *,
    allow_loopback: bool,
    receivers: AllowedReceivers | None = None,
    host: str = "",
) -> str | None:
    """Return a sentence on why connections to this IP address are not allowed, or None.

    `address` is a numeric IPv4 or IPv6 address, as a resolver returns it for `host`.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"{address[:60]!r} is no IP address"
    is_loopback = any(parsed in network for network in LOOPBACKS)
    if (allow_loopback and is_loopback) or _is_public(parsed):
        return None
    if receivers is None:
        return f"points at {parsed}, which is not public{_HINT}"
    if receivers.allow_address(parsed, host):
        return None
    return f"points at {parsed}, which is not public{_settings_hint(is_loopback=is_loopback)}"


def _settings_hint(*, is_loopback: bool) -> str:
    """Return by which setting an operator allows a receiver that is not public."""
    if is_loopback:
        return f"{_HINT}, or WEBHOOKS_ALLOW_LOOPBACK=true must allow this machine, for development"
    return f"{_HINT}, or WEBHOOKS_ALLOW must name it"


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_IPV4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        # NAT64: the embedded IPv4 address decides.
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    # Other forms that embed an IPv4 address, such as mapped ones, are outside of 2000::/3.
    return address in _PUBLIC_IPV6 and not any(address in one for one in _NOT_PUBLIC_IPV6)


def _host_of(parts: SplitResult) -> str:
    """Return the host as resolvers see it. Raises `ValueError` if programs may disagree on it."""
    host = parts.hostname or ""
    if not host.isascii():
        if not _is_unambiguous(host):
            raise ValueError("the host has characters that stand for others, or for none")
        host = host.encode("idna").decode()
    return host.lower().removesuffix(".")


def _is_unambiguous(host: str) -> bool:
    """Return whether all resolvers interpret these characters as the same host.

    Some programs convert full-width, segmented and circled digits and non-ASCII dots to an IP
    address, or remove invisible characters. Others keep them as part of a name.
    """
    if unicodedata.normalize("NFKC", host) != unicodedata.normalize("NFC", host):
        return False
    return all(
        one in _HOST_CHARACTERS
        or (unicodedata.category(one) in _HOST_CATEGORIES and ord(one) not in _INVISIBLE_CHARACTERS)
        for one in host
    )


def _host_fault(
    host: str, *, allow_loopback: bool, receivers: AllowedReceivers | None
) -> str | None:
    if not host:
        return "has no host"
    shown = repr(host[:60])
    if ":" in host:
        return find_address_fault(host, allow_loopback=allow_loopback, receivers=receivers)
    if _ends_in_number(host):
        if not _is_plain_ipv4(host):
            # Resolvers accept `127.1`, `0x7f.1`, `0177.0.0.1` and `2130706433` as addresses.
            return f"has the host {shown}: an IP address is written as four decimal numbers"
        return find_address_fault(host, allow_loopback=allow_loopback, receivers=receivers)
    labels = host.split(".")
    if len(host) > _HOST_LENGTH_MAX or not all(map(HOST_LABEL.fullmatch, labels)):
        return f"has a host that no resolver accepts: {shown}"
    if labels[-1] == "localhost" and allow_loopback:
        return None
    is_private = any(f".{host}".endswith(f".{zone}") for zone in _PRIVATE_ZONES)
    if not is_private and len(labels) > 1:
        return None
    if receivers is None:
        return f"points at {shown}, which is not public{_HINT}"
    if receivers.may_resolve(host):
        return None
    hint = _settings_hint(is_loopback=labels[-1] == "localhost")
    return f"points at {shown}, which is not public{hint}"


def _ends_in_number(host: str) -> bool:
    # The rule of the URL standard: the last label alone decides whether a host is an address.
    return re.fullmatch(r"[0-9]+|0x.*", host.rpartition(".")[2]) is not None


def _is_plain_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
