"""The receivers in an operator's own network to which webhooks may be sent. Pure.

`WEBHOOKS_ALLOW` names them: hosts, suffixes of hosts, addresses and networks. A host that is named
may resolve to a private address. An address or network that is named may be reached under any name.
Addresses of this machine, link-local ones and metadata services are reached only where an entry
lies within their own network. Some addresses are never reached, such as those that embed another.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HAS_PORT = "has a port: write the host alone, for all of its ports"
HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


LOOPBACKS = _networks("127.0.0.0/8", "::1/128")
_PRIVATE = _networks(
    *("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""What the name of a host in one's own network resolves to."""
_GUARDED = LOOPBACKS + _networks(
    *("169.254.0.0/16", "fe80::/10"),
    # Metadata services of cloud providers outside of the link-local networks.
    *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),
    *("fd00:ec2::254/128", "fd20:ce::254/128"),
)
_NEVER = _networks(
    *("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8"),
    # IPv6 forms that embed an IPv4 address, and the unspecified address. Only ::1 is a host.
    *("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"),
)


@dataclass(frozen=True, slots=True)
class AllowedReceivers:
    """The parsed entries of `WEBHOOKS_ALLOW`."""

    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    """Each begins with a dot. The name without it is not matched."""
    networks: tuple[Network, ...] = ()

    def names_host(self, host: str) -> bool:
        """Return whether an entry names this host, given in lower case."""
        return host in self.hosts or host.endswith(self.suffixes)

    def may_resolve(self, host: str) -> bool:
        """Return whether a host that is not public by its name may turn out to be allowed."""
        if host.rpartition(".")[2] == "localhost":
            return any(_is_within(network, LOOPBACKS) for network in self.networks)
        return self.names_host(host) or bool(self.networks)

    def allow_address(self, address: Address, host: str) -> bool:
        """Return whether `address`, to which `host` resolved, may be connected to."""
        if getattr(address, "scope_id", None) is not None or not _can_be_reached(address):
            return False
        is_guarded = any(address in network for network in _GUARDED)
        for network in self.networks:
            if address in network and (not is_guarded or _is_within(network, _GUARDED)):
                return True
        is_private = any(address in network for network in _PRIVATE)
        return is_private and not is_guarded and self.names_host(host)


NO_RECEIVERS = AllowedReceivers()


def ascii_name(name: str) -> str:
    """Return the name of a host as it is looked up: in punycode, if it has other letters.

    A name that has no such form is returned unchanged.
    """
    if name.isascii():
        return name
    try:
        return ".".join(label.encode("idna").decode() for label in name.split("."))
    except UnicodeError:
        return name


def parse_allowed_receivers(text: str) -> AllowedReceivers:
    """Return the entries of `WEBHOOKS_ALLOW`, which are separated by commas.

    Raises `ValueError` with a sentence for each entry that is wrong.
    """
    hosts, suffixes, networks, faults = set(), [], [], []
    for entry in filter(None, (part.strip().lower() for part in text.split(","))):
        try:
            parsed = _parse_entry(entry)
        except ValueError as error:
            faults.append(f"{entry[:80]!r} {error}")
            continue
        if not isinstance(parsed, str):
            networks.append(parsed)
        elif parsed.startswith("."):
            suffixes.append(parsed)
        else:
            hosts.add(parsed)
    if faults:
        raise ValueError("; ".join(faults))
    return AllowedReceivers(frozenset(hosts), tuple(suffixes), tuple(networks))


def _parse_entry(entry: str) -> str | Network:
    """Return a host, a suffix with its dot, or a network. Raises `ValueError`."""
    if "://" in entry:
        raise ValueError("is a URL: write its host alone")
    if "/" in entry or ":" in entry or _ends_in_number(entry):
        return _parse_network(entry)
    name = ascii_name(entry.removeprefix("*").removesuffix("."))
    labels = name.removeprefix(".").split(".")
    if name == "" or not all(map(HOST_LABEL.fullmatch, labels)):
        raise ValueError(
            "must be a host, a suffix such as .svc.cluster.local, an address, or a network such as"
            " 10.0.0.0/8"
        )
    if labels[-1] == "localhost":
        raise ValueError("is this machine: set WEBHOOKS_ALLOW_LOOPBACK=true, or write 127.0.0.1")
    if entry.startswith("*") and not name.startswith("."):
        raise ValueError("must have its star before a dot, as in *.svc.cluster.local")
    return name


def _parse_network(entry: str) -> Network:
    host, _, port = entry.rpartition(":")
    if host.startswith("[") and host.endswith("]") and port.isascii() and port.isdigit():
        raise ValueError(_HAS_PORT)
    if "%" in entry:
        raise ValueError("has a scope, which webhooks are never sent to")
    text = entry.removeprefix("[").removesuffix("]")
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(_network_fault(text)) from None
    if network.prefixlen == 0:
        raise ValueError("would allow every address: name the networks of your receivers")
    if not _is_within(network, LOOPBACKS) and _is_within(network, _NEVER):
        raise ValueError("has no address that webhooks may be sent to")
    return network


def _network_fault(text: str) -> str:
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        host, _, port = text.rpartition(":")
        if port.isascii() and port.isdigit() and ":" not in host:
            return _HAS_PORT
        return "is neither an address nor a network such as 10.0.0.0/8"
    return f"has bits beyond its prefix: write {wider}"


def _is_within(network: Network, others: tuple[Network, ...]) -> bool:
    return any(
        network.version == one.version and network.subnet_of(one)  # type: ignore[arg-type]
        for one in others
    )


def _can_be_reached(address: Address) -> bool:
    is_loopback = any(address in network for network in LOOPBACKS)
    return is_loopback or not any(address in network for network in _NEVER)


def _ends_in_number(host: str) -> bool:
    return re.fullmatch(r"[0-9]+|0x.*", host.rpartition(".")[2]) is not None
