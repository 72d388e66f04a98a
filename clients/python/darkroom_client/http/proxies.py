"""Which proxy of the environment a request goes through. Nothing is sent here.

The rule is that of Darkroom itself: `HTTPS_PROXY` or `HTTP_PROXY` by the scheme of the URL, else
`ALL_PROXY`, and none for this machine and for what `NO_PROXY` names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.request import getproxies

import httpx2

from darkroom_client.errors import ConnectionFailed, DarkroomError, ProxyUnusable

_VARIABLES = {"https": "HTTPS_PROXY", "http": "HTTP_PROXY", "all": "ALL_PROXY"}
_BRACKETS = re.compile(r"^\[(.*)\](/[0-9]+)?$")
_REFUSALS = ("4", "Requested ", "Invalid username/password")
"""What begins a refusal: a status that answers CONNECT, and the words of a SOCKS proxy."""
_PASSING = ("408", "429")
_SOCKS = frozenset({"socks5", "socks5h"})
_PORTS = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class ProxyServer:
    """A proxy, and the variable of the environment that names it."""

    variable: str
    url: str = field(repr=False)


@dataclass(frozen=True)
class Proxies:
    """The proxies of the environment as they are given, by scheme, with `no` and `all`."""

    given: Mapping[str, str] = field(repr=False)

    def for_url(self, url: httpx2.URL) -> ProxyServer | None:
        """Return the proxy for a URL, or None for a direct connection. Raises `ProxyUnusable`."""
        scheme = url.scheme if self.given.get(url.scheme) else "all"
        text = self.given.get(scheme, "")
        host = url.raw_host.decode("ascii").removesuffix(".")
        if not text or _is_loopback(host):
            return None
        port = url.port or _PORTS.get(url.scheme, 0)
        entries = self.given.get("no", "").lower().replace(",", " ").split()
        if any(_matches(entry, host, port) for entry in entries):
            return None
        server = ProxyServer(_VARIABLES[scheme], text if "://" in text else f"http://{text}")
        fault = _find_fault(server.url)
        if fault is not None:
            raise ProxyUnusable(server.variable, fault)
        return server


def environment_proxies() -> Proxies:
    """Return the proxies of the environment. Windows and macOS have them in their settings too."""
    return Proxies(getproxies())


def failed_through(server: ProxyServer, error: httpx2.RequestError) -> DarkroomError:
    """Return our error for a request that failed on its way through a proxy."""
    is_refused = isinstance(error, httpx2.ProxyError) and str(error).startswith(_REFUSALS)
    if is_refused and not str(error).startswith(_PASSING):
        # The proxy wants another password, or forbids the host: it would refuse again.
        return ProxyUnusable(server.variable, f"the proxy refuses the tunnel: {error}")
    told = f"{type(error).__name__}: {error}".rstrip(": ")
    return ConnectionFailed(f"through the proxy of {server.variable}: {told}")


def _find_fault(text: str) -> str | None:
    """Return what is wrong with the URL of a proxy, without any part of it."""
    scheme = text.partition("://")[0].lower()
    if scheme not in _PORTS.keys() | _SOCKS:
        return "must begin with http://, https://, socks5:// or socks5h://"
    if scheme in _SOCKS and find_spec("socksio") is None:
        return "is a SOCKS proxy, which needs another package: pip install 'httpx2[socks]'"
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = None
    # A `/` in the password would make the user the host, and a part of the password the port.
    if url is None or url.path not in {"", "/"} or url.query or url.fragment:
        return "must end after its port, a number; write / ? # in a password as %2F %3F %23"
    return None if url.host else "must name a host, such as http://proxy.example:3128"


def _matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of `NO_PROXY` names this host: a name with its subdomains, an
    address, a network or `*`, each for one port if it ends with one.
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
    name = _ascii_name(entry.removeprefix("*").removeprefix(".").strip("[]")).removesuffix(".")
    return host == name or (address is None and bool(name) and host.endswith(f".{name}"))


def _ascii_name(name: str) -> str:
    if ":" in name:
        return name  # an address of IPv6
    try:
        return httpx2.URL(f"http://{name}").raw_host.decode("ascii")
    except httpx2.InvalidURL:
        return name


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(_BRACKETS.sub(r"\1\2", entry), strict=False)
    except ValueError:
        return None


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host.rpartition(".")[2] == "localhost"
