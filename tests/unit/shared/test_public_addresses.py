"""Which URLs are public: a private address is refused in every notation."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.public_addresses import find_address_fault, find_url_fault

PUBLIC_URLS = [
    "https://shop.example/hook",
    "http://shop.example:8080/hook?token=a%20b#part",
    "https://SHOP.example./hook",
    "https://8.8.8.8/",
    "http://[2606:4700:4700::1111]:8443/x",
    "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/",
    "https://xn--bcher-kva.example/",
    "https://bu\N{COMBINING DIAERESIS}cher.example/",
    "https://\u043f\u0440\u0438\u043c\u0435\u0440.example/",
    "https://\u4f8b\u3048.example/",
    "https://\u0627\u0644\u0639\u0631\u0628\u064a\u0629.example/",
    "https://a_b.shop.example/",
    "https://metadata.shop.example/latest/meta-data/",
    "https://localhost.shop.example/",
    "https://127.0.0.1.nip.example/",
]
INNER_HOSTS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"),
    *("017700000001", "127.0.0.1.", "127.000.000.001", "0x7f.1", "0", "0.0.0.0", "127.0.0.1%00"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1"),
    *("169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518"),
    *("192.0.0.192", "168.63.129.16", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
    *("240.0.0.1", "192.0.2.1", "192.88.99.1", "1.2.3.4.5", "256.1.1.1", "0x", "1.2.3.0xg"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]"),
    *("[fe80::1%25eth0]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[64:ff9b::7f00:1]"),
    *("[64:ff9b::10.0.0.1]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::1]", "[2002:7f00:1::]"),
    *("[2001::1]", "[2001:db8::1]", "[100::1]", "[fec0::1]", "[::ffff:0:127.0.0.1]"),
    *("localhost", "LOCALHOST", "localhost.", "a.localhost", "printer.local", "db.internal"),
    *("metadata.google.internal", "metadata", "router.lan", "nas.home.arpa", "x.onion"),
    "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT SEVEN}.0.0.1",
    "127\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}1",
    "\N{CIRCLED LATIN SMALL LETTER L}ocalhost",
    # Digits of Unicode 13, which older tables do not know: one program reads a name, another 127.
    *("\U0001fbf1\U0001fbf2\U0001fbf7.0.0.1", "127.0.0.\U0001fbf1", "\U0001fbf0"),
    *(
        "\N{MATHEMATICAL BOLD DIGIT ONE}27.0.0.1",
        "127\N{ONE DOT LEADER}0.0.1",
        "\u2460\u2461\u2466.1",
    ),
    # Dropped by some, and then an address or an inner name.
    *(
        "127.0.0.1\U000e0100",
        "127.0.0.\ufe0f1",
        "local\u034fhost",
        "db.inter\u180bnal",
        "loc\u3164alhost",
    ),
    *(
        "local\u200bhost",
        "127.0.0.1\u2060",
        "\ufeff127.0.0.1",
        "\u202e1.0.0.721",
        "\U000e0001.example",
    ),
    # Letters of no version of Unicode yet.
    *("\U0003ffff.example", "\ue000.example"),
]
NONSENSE = [
    *("", "shop.example", "//shop.example/", "ftp://shop.example/", "file:///etc/passwd"),
    *("https://", "https:///path", "https://:443/", "http://[", "http://[::1", "http://a..b/"),
    *("http://-a.example/", "http://a-.example/", "http://%31%32%37.0.0.1/", "http://a b.example/"),
    *("http://shop.example:0/", "http://shop.example:99999/", "http://shop.example:x/"),
    *("http://user@shop.example/", "http://user:pass@shop.example/", "http://@shop.example/"),
    *("http://shop.example@127.0.0.1/", "http://127.0.0.1\\@shop.example/", "http://127.0.0.1\\/"),
    *("http://shop.example/\r\nX-Evil: 1", "http://shop.example/\n", "http://shop.example/a b"),
    *("http://shop.example\t/", "http://shop.example/\x00", "http://shop.example/\x7f"),
    *("http://shop.example/\u2028", "http://shop.example/\x85", f"http://{'a' * 64}.example/"),
    *("http://" + ".".join(["a" * 60] * 5) + "/", "javascript:alert(1)", "gopher://8.8.8.8/"),
]


@pytest.mark.parametrize("url", PUBLIC_URLS)
def test_a_public_url_is_allowed(url: str) -> None:
    assert find_url_fault(url, allow_loopback=False) is None


@pytest.mark.parametrize("host", INNER_HOSTS)
@pytest.mark.parametrize("form", ["http://{}/", "https://{}:8443/latest/meta-data?x=1"])
def test_an_inner_host_is_refused_however_it_is_written(host: str, form: str) -> None:
    assert find_url_fault(form.format(host), allow_loopback=False)


@pytest.mark.parametrize("url", NONSENSE)
@pytest.mark.parametrize("allow_loopback", [True, False])
def test_what_is_no_plain_web_address_is_refused(url: str, allow_loopback: bool) -> None:
    assert find_url_fault(url, allow_loopback=allow_loopback)


def test_the_error_names_the_host_and_no_secret() -> None:
    fault = find_url_fault("http://10.0.0.1/hook?token=secret", allow_loopback=False)
    assert (
        fault
        == "points at 10.0.0.1, which is not public; it must be a public address of the internet"
    )
    for url in ("http://u:secret@shop.example/", "http://10.1/?secret", "http://a/secret"):
        assert "secret" not in (find_url_fault(url, allow_loopback=False) or "secret")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost", "a.localhost", "localhost."]
)
def test_the_development_setting_allows_this_machine(host: str) -> None:
    assert find_url_fault(f"http://{host}:9000/hook", allow_loopback=True) is None


@pytest.mark.parametrize(
    "host",
    sorted(
        set(INNER_HOSTS)
        - {"127.0.0.1", "127.0.0.1.", "[::1]", "localhost", "LOCALHOST", "localhost."}
        - {"a.localhost", "\N{CIRCLED LATIN SMALL LETTER L}ocalhost"}
        - {"127\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}1"}
        - {"\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT SEVEN}.0.0.1"}
    ),
)
def test_the_development_setting_allows_nothing_else(host: str) -> None:
    assert find_url_fault(f"http://{host}/", allow_loopback=True)


PUBLIC_ADDRESSES = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0"),
    *("169.253.255.255", "169.255.0.0", "223.255.255.255", "198.17.255.255", "198.20.0.0"),
    *("2606:4700:4700::1111", "2a00:1450::1", "2001:200::1", "2001:4860:4860::8888"),
    "64:ff9b::8.8.8.8",
]
INNER_ADDRESSES = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.0", "100.127.255.255", "127.0.0.1"),
    *("127.255.255.255", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1"),
    *("192.168.0.1", "198.18.0.0", "198.19.255.255", "224.0.0.0", "255.255.255.255"),
    *("168.63.129.16", "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1"),
    *("2001:1ff::1", "2001:db8::1", "2002:808:808::1", "3fff::1", "4000::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606::1%1", "ff02::1", "not an address", ""),
]


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_allowed(address: str) -> None:
    assert find_address_fault(address, allow_loopback=False) is None


@pytest.mark.parametrize("address", INNER_ADDRESSES)
def test_an_inner_address_is_refused(address: str) -> None:
    assert find_address_fault(address, allow_loopback=False)


@pytest.mark.parametrize("address", sorted(set(INNER_ADDRESSES) - {"::1"}))
def test_the_development_setting_opens_no_address_but_loopback(address: str) -> None:
    is_loopback = address.startswith("127.")
    assert (find_address_fault(address, allow_loopback=True) is None) == is_loopback
    assert find_address_fault("::1", allow_loopback=True) is None


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_ever_allowed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if find_address_fault(str(address), allow_loopback=False) is None:
        in_nat64 = address in ipaddress.ip_network("64:ff9b::/96")
        inner = ipaddress.ip_address(int(address) & 0xFFFF_FFFF) if in_nat64 else address
        assert inner.is_global
        assert not inner.is_multicast
        assert not inner.is_reserved


@given(st.text(max_size=80))
def test_any_text_gets_a_result_and_never_an_error(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://[{text}]:80/"):
        find_url_fault(url, allow_loopback=False)
    find_address_fault(text, allow_loopback=False)
