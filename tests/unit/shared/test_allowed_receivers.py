"""`WEBHOOKS_ALLOW`: what an entry allows, what it does not, and which entries are refused."""

from __future__ import annotations

import pytest

from shared.domain.allowed_receivers import AllowedReceivers, parse_allowed_receivers
from shared.domain.public_addresses import find_address_fault, find_url_fault


def address_fault(allowed: str, address: str, host: str = "shop.example") -> str | None:
    """Return the fault of an address to which a host resolved."""
    receivers = parse_allowed_receivers(allowed)
    return find_address_fault(address, allow_loopback=False, receivers=receivers, host=host)


def url_fault(allowed: str, url: str) -> str | None:
    """Return the fault of a URL."""
    receivers = parse_allowed_receivers(allowed)
    return find_url_fault(url, allow_loopback=False, receivers=receivers)


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        ("billing", "billing", "172.18.0.4"),
        ("Hooks.Internal.", "hooks.internal", "10.0.0.5"),
        (".svc.cluster.local", "a.b.svc.cluster.local", "10.96.0.10"),
        ("*.svc.cluster.local", "a.svc.cluster.local", "fd00:1::5"),
        ("10.96.0.0/12", "shop.example", "10.97.0.1"),
        ("192.168.1.7", "shop.example", "192.168.1.7"),
        ("[fd00:1::5]", "shop.example", "fd00:1::5"),
        (" , a.lan, 100.64.0.0/10 ,", "shop.example", "100.100.1.1"),
        ("b\u00fcro.lan", "xn--bro-hoa.lan", "10.0.0.5"),
        ("*.B\u00fcro.lan", "a.xn--bro-hoa.lan", "10.0.0.5"),
        ("127.0.0.1", "localhost", "127.0.0.1"),
        ("169.254.169.254", "shop.example", "169.254.169.254"),
        ("fd00:ec2::254", "shop.example", "fd00:ec2::254"),
        ("198.18.0.0/15", "shop.example", "198.18.3.4"),
    ],
)
def test_what_an_entry_names_is_allowed(allowed: str, host: str, address: str) -> None:
    assert address_fault(allowed, address, host) is None
    assert url_fault(allowed, f"http://{host}:8080/hook") is None


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        # Another host, the suffix itself, a host that only ends like an entry.
        ("billing", "shop.example", "10.0.0.5"),
        (".cluster.local", "cluster.local", "10.0.0.5"),
        ("billing", "notbilling", "10.0.0.5"),
        # A named host that resolves to this machine, to a metadata service, or to nobody's address.
        ("billing", "billing", "127.0.0.1"),
        ("billing", "billing", "::1"),
        ("billing", "billing", "169.254.169.254"),
        ("billing", "billing", "fe80::1"),
        ("billing", "billing", "100.100.100.200"),
        ("billing", "billing", "fd00:ec2::254"),
        ("billing", "billing", "0.0.0.0"),
        # Networks do not cover what only an entry of its own may open.
        ("160.0.0.0/4", "shop.example", "169.254.169.254"),
        ("168.0.0.0/8", "shop.example", "168.63.129.16"),
        ("100.64.0.0/10", "shop.example", "100.100.100.200"),
        ("64.0.0.0/2", "shop.example", "127.0.0.1"),
        ("fc00::/7", "shop.example", "fd00:ec2::254"),
        ("8000::/1", "shop.example", "fe80::1"),
        ("128.0.0.0/1", "shop.example", "224.0.0.1"),
        ("128.0.0.0/1", "shop.example", "255.255.255.255"),
        # Forms of IPv6 that embed an allowed IPv4 address.
        ("10.0.0.0/8,::/1", "shop.example", "::ffff:10.0.0.5"),
        ("10.0.0.0/8,::/1", "shop.example", "::10.0.0.5"),
        ("10.0.0.0/8,::/1", "shop.example", "64:ff9b::10.0.0.5"),
        ("10.0.0.0/8,2000::/3", "shop.example", "2002:a00:5::"),
        ("fe80::/10", "shop.example", "fe80::1%eth0"),
        ("10.0.0.0/24", "shop.example", "10.0.1.1"),
    ],
)
def test_everything_else_stays_refused(allowed: str, host: str, address: str) -> None:
    assert address_fault(allowed, address, host)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("10.0.0.0/8", "http://localhost/"),
        ("billing", "http://payroll/"),
        ("billing", "http://127.0.0.1/"),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.5]/"),
        ("10.0.0.0/8", "http://10.1/"),
        ("10.0.0.0/8", "http://0xa.0.0.5/"),
        ("10.0.0.0/8", "http://user:word@10.0.0.5/"),
        ("10.0.0.0/8", "ftp://10.0.0.5/"),
    ],
)
def test_a_url_that_is_not_named_is_refused_by_its_text(allowed: str, url: str) -> None:
    assert url_fault(allowed, url)


@pytest.mark.parametrize("host", ["hooks.default.svc.cluster.local", "payroll", "a.internal"])
def test_with_a_network_an_inner_name_is_decided_by_its_address(host: str) -> None:
    assert url_fault("10.0.0.0/8", f"http://{host}/") is None
    assert address_fault("10.0.0.0/8", "10.1.1.1", host) is None
    assert address_fault("10.0.0.0/8", "192.168.1.1", host)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("http://billing/hook", "is a URL: write its host alone"),
        ("billing:8080", "has a port: write the host alone, for all of its ports"),
        ("10.0.0.5:8080", "has a port: write the host alone, for all of its ports"),
        ("10.0.0.5/8", "has bits beyond its prefix: write 10.0.0.0/8"),
        ("10.0.0", "is neither an address nor a network such as 10.0.0.0/8"),
        ("10.0.0.0/33", "is neither an address nor a network such as 10.0.0.0/8"),
        ("0.0.0.0/0", "would allow every address: name the networks of your receivers"),
        ("::/0", "would allow every address: name the networks of your receivers"),
        ("0.0.0.0", "has no address that webhooks may be sent to"),
        ("::ffff:10.0.0.0/104", "has no address that webhooks may be sent to"),
        ("localhost", "is this machine: set WEBHOOKS_ALLOW_LOOPBACK=true, or write 127.0.0.1"),
        ("*billing.lan", "must have its star before a dot, as in *.svc.cluster.local"),
        ("*", "must be a host, a suffix such as .svc.cluster.local, an address, or a network"),
        ("a b", "must be a host, a suffix such as .svc.cluster.local, an address, or a network"),
        ("[fd00::5]:8443", "has a port: write the host alone, for all of its ports"),
        ("fe80::1%eth0", "has a scope, which webhooks are never sent to"),
        ("b\u00fcro lan", "must be a host, a suffix such as .svc.cluster.local, an address"),
    ],
)
def test_a_wrong_entry_is_named(entry: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^'") as raised:
        parse_allowed_receivers(f"billing,{entry},10.0.0.0/8")
    assert str(raised.value).startswith(f"{entry!r} {sentence}")


def test_all_wrong_entries_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"'a:1' has a port.*; '::/0' would allow every"):
        parse_allowed_receivers("a:1,billing,::/0")


def test_the_refusal_names_the_setting_that_would_allow_the_address() -> None:
    for address in ("127.0.0.1", "::1"):
        assert "WEBHOOKS_ALLOW_LOOPBACK=true" in (address_fault("", address) or "")
    for host in ("10.0.0.5", "billing", "169.254.169.254", "[fd00::1]"):
        assert "or WEBHOOKS_ALLOW must name it" in (url_fault("", f"http://{host}/") or "")
    assert "WEBHOOKS_ALLOW_LOOPBACK=true" in (url_fault("", "http://localhost:9000/") or "")


def test_image_links_are_told_of_no_setting() -> None:
    for host in ("127.0.0.1", "10.0.0.5", "billing", "localhost"):
        fault = find_url_fault(f"http://{host}/", allow_loopback=False)
        assert fault is not None
        assert "WEBHOOKS" not in fault


def test_no_entry_allows_nothing() -> None:
    assert parse_allowed_receivers(" ,, ") == AllowedReceivers()
    assert address_fault("", "10.0.0.5")
