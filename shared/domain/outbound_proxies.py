"""Which proxy a request of ours goes through, by `HTTPS_PROXY` and its kind. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from shared.domain.allowed_receivers import NO_RECEIVERS, AllowedReceivers, ascii_name

_SCHEMES = ("http", "https")
_BRACKETS = re.compile(r"^\[(.*)\](/[0-9]+)?$")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """A proxy. Its URL has no user name and no password, so it may be shown."""

    url: str
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OutboundProxies:
    """The proxies of this process. This machine is never reached through one."""

    https: ProxyServer | None = None
    """For `https://` URLs."""
    http: ProxyServer | None = None
    """For `http://` URLs."""
    exceptions: tuple[str, ...] = ()
    """The entries of `NO_PROXY`."""
    fallback: ProxyServer | None = None
    """For URLs of a scheme without a proxy of its own: `ALL_PROXY`."""

    def for_url(self, url: str) -> ProxyServer | None:
        """Return the proxy for a URL, or None for a direct connection."""
        parts = urlsplit(url)
        server = (self.https if parts.scheme == "https" else self.http) or self.fallback
        host = ascii_name(parts.hostname or "").removesuffix(".")
        if server is None or _is_loopback(host):
            return None
        port = parts.port or _PORTS.get(parts.scheme, 0)
        is_exception = any(_matches(entry, host, port) for entry in self.exceptions)
        return None if is_exception else server

    def setting_for(self, scheme: str) -> str:
        """Return the name of the setting with the proxy for URLs of this scheme."""
        if scheme == "https":
            return "ALL_PROXY" if self.https is None else "HTTPS_PROXY"
        return "ALL_PROXY" if self.http is None else "HTTP_PROXY"


NO_PROXIES = OutboundProxies()


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """Where requests of ours may go, and through which proxies."""

    receivers: AllowedReceivers = NO_RECEIVERS
    """Receivers of webhooks in one's own network."""
    proxies: OutboundProxies = NO_PROXIES


NO_RULES = OutboundRules()


def parse_proxy(text: str) -> ProxyServer:
    """Return the proxy of a URL such as `http://user:password@proxy:3128`.

    Without a scheme it is `http://`. Raises `ValueError` with a sentence that shows no part of it.
    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in _SCHEMES:
        raise ValueError("must begin with http:// or https://; SOCKS is not supported")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    # A `/` in the password would make the user the host, and a part of the password the port.
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must end after its port; write / ? # in a password as %2F %3F %23")
    if not host or port == 0 or any(one.isspace() for one in host):
        raise ValueError("must name a host, such as http://proxy.example:3128")
    shown = f"[{host}]" if ":" in host else host
    user = None if parts.username is None else unquote(parts.username)
    return ProxyServer(
        f"{parts.scheme}://{shown}:{port or _PORTS[parts.scheme]}",
        user,
        unquote(parts.password or ""),
    )


def parse_exceptions(text: str) -> tuple[str, ...]:
    """Return the entries of `NO_PROXY`, which are separated by commas or spaces."""
    return tuple(text.lower().replace(",", " ").split())


def _matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry names this host: a name with its subdomains, an address, a network
    or `*`, each for one port if it ends with one.
    """
    if entry == "*":
        return True
    address = _address(host)
    if address is not None:
        network = _network(entry)
        if network is not None:
            return address in network
    name, separator, wanted_port = entry.rpartition(":")
    if separator and wanted_port.isascii() and wanted_port.isdigit():
        return int(wanted_port) == port and _matches(name, host, port)
    name = ascii_name(entry.removeprefix("*").removeprefix(".").strip("[]")).removesuffix(".")
    return host == name or (address is None and bool(name) and host.endswith(f".{name}"))


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(_BRACKETS.sub(r"\1\2", entry), strict=False)
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host.rpartition(".")[2] == "localhost"
