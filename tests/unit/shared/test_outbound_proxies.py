"""`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`: which URL goes through which proxy.

Darkroom and its client for Python read them alike.
"""

from __future__ import annotations

import httpx2
import pytest
from darkroom_client.http.proxies import Proxies

from shared.domain.outbound_proxies import (
    OutboundProxies,
    ProxyServer,
    parse_exceptions,
    parse_proxy,
)
from shared.errors import ConfigurationError
from shared.settings import load_settings

SECURE, PLAIN = parse_proxy("http://proxy:3128"), parse_proxy("proxy2:8888")


def chosen(url: str, direct: str = "") -> str | None:
    """Return the URL of the proxy for a URL, or None. The client chooses the same."""
    server = OutboundProxies(SECURE, PLAIN, parse_exceptions(direct)).for_url(url)
    given = {"https": SECURE.url, "http": PLAIN.url, "no": direct}
    of_client = Proxies(given).for_url(httpx2.URL(url))
    assert (of_client and of_client.url) == (server and server.url)
    return None if server is None else server.url


def test_the_scheme_of_the_target_chooses_the_proxy() -> None:
    assert chosen("https://api.kie.ai/api/v1") == "http://proxy:3128"
    assert chosen("http://shop.example/hook") == "http://proxy2:8888"
    assert OutboundProxies(https=SECURE).for_url("http://shop.example/") is None


@pytest.mark.parametrize(
    ("https", "http", "url", "expected"),
    [
        (None, None, "https://api.kie.ai/", "ALL_PROXY"),
        (None, None, "http://shop.example/", "ALL_PROXY"),
        (SECURE, None, "https://api.kie.ai/", "HTTPS_PROXY"),
        (SECURE, None, "http://shop.example/", "ALL_PROXY"),
        (None, PLAIN, "https://api.kie.ai/", "ALL_PROXY"),
        (None, PLAIN, "http://shop.example/", "HTTP_PROXY"),
        (None, None, "https://a.internal.example/", None),
        (None, None, "http://127.0.0.1:8080/", None),
    ],
)
def test_all_proxy_stands_in_for_what_is_not_set(
    https: ProxyServer | None, http: ProxyServer | None, url: str, expected: str | None
) -> None:
    rest = parse_proxy("http://ann:hush@rest:3128")
    named = {"HTTPS_PROXY": https, "HTTP_PROXY": http, "ALL_PROXY": rest}
    ours = OutboundProxies(https, http, (".internal.example",), rest)
    server = named[expected] if expected else None
    assert ours.for_url(url) == server
    if expected:
        assert ours.setting_for(url.partition(":")[0]) == expected
    given = {"no": ".internal.example", "all": "http://ann:hush@rest:3128"}
    given |= {"https": https.url} if https else {}
    given |= {"http": http.url} if http else {}
    of_client = Proxies(given).for_url(httpx2.URL(url))
    assert (of_client and of_client.variable) == expected
    assert "hush" not in f"{of_client} {Proxies(given)}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "127.8.8.8", "[::1]:80", "localhost", "a.localhost", "localhost."]
)
def test_this_machine_is_reached_directly(host: str) -> None:
    assert chosen(f"http://{host}/") is None


@pytest.mark.parametrize(
    ("direct", "host"),
    [
        ("*", "shop.example"),
        ("shop.example", "shop.example"),
        ("Shop.Example", "hooks.SHOP.example"),
        (".shop.example", "hooks.shop.example"),
        (".shop.example", "shop.example"),
        ("*.shop.example", "a.b.shop.example"),
        ("other, shop.example:8443", "shop.example:8443"),
        ("shop.example:443", "shop.example"),
        ("10.0.0.0/8", "10.1.2.3:8080"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:443", "10.1.2.3"),
        ("fd00::/8", "[fd00::5]"),
        ("[fd00::5]:8443", "[fd00::5]:8443"),
        ("a.example shop.example", "shop.example"),
        ("shop.example.", "hooks.shop.example"),
        ("b\u00fcro.example", "xn--bro-hoa.example"),
        ("xn--bro-hoa.example", "b\u00fcro.example"),
        ("[fd00::]/8", "[fd00::5]"),
    ],
)
def test_what_no_proxy_names_is_reached_directly(direct: str, host: str) -> None:
    assert chosen(f"https://{host}/", direct) is None


@pytest.mark.parametrize(
    ("direct", "host"),
    [
        ("", "shop.example"),
        ("shop.example", "myshop.example"),
        ("shop.example:8443", "shop.example"),
        ("hooks.shop.example", "shop.example"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("10.0.0.0/8", "10.example"),
        ("0.0.1.2", "10.0.0.1"),
        ("2.3", "10.1.2.3"),
        (",", "shop.example"),
        (".", "shop.example"),
    ],
)
def test_everything_else_goes_through_the_proxy(direct: str, host: str) -> None:
    assert chosen(f"https://{host}/", direct) == "http://proxy:3128"


@pytest.mark.parametrize(
    ("text", "url", "user", "password"),
    [
        ("http://proxy.example:3128/", "http://proxy.example:3128", None, ""),
        ("https://proxy.example", "https://proxy.example:443", None, ""),
        ("proxy", "http://proxy:80", None, ""),
        ("http://ann:p%40ss%2Fw@proxy:3128", "http://proxy:3128", "ann", "p@ss/w"),
        ("ann@proxy:3128", "http://proxy:3128", "ann", ""),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128", None, ""),
    ],
)
def test_a_proxy_is_read(text: str, url: str, user: str | None, password: str) -> None:
    server = parse_proxy(text)
    assert (server.url, server.user, server.password) == (url, user, password)
    assert repr(server) == f"ProxyServer(url={url!r})"


@pytest.mark.parametrize(
    "text",
    [
        *("socks5://ann:hush@proxy:1080", "http://:3128", "http://ann:hush@proxy:port"),
        *("ftp://hush", "http://ann:12/hush@proxy:3128", "ann:12#hush@proxy", "ann:1?hush@proxy"),
        *("http://hush:0", "http://hu sh:3128", "http://proxy:3128/hush"),
    ],
)
def test_another_kind_of_proxy_is_a_wrong_setting_that_shows_nothing(
    text: str, clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: must ") as raised:
        load_settings()
    assert "hush" not in str(raised.value)


def test_an_all_proxy_of_another_kind_is_refused_where_it_would_be_used(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://ann:hush@proxy:1080")
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert (
        "ALL_PROXY: must begin with http:// or https://; SOCKS is not supported; it is read because"
        " HTTPS_PROXY and HTTP_PROXY are not set" in str(raised.value)
    )
    assert "hush" not in str(raised.value)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    with pytest.raises(ConfigurationError, match="it is read because HTTP_PROXY is not set"):
        load_settings()
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    proxies = load_settings().outbound.proxies
    assert (proxies.fallback, proxies.for_url("http://shop.example")) == (None, proxies.http)
    monkeypatch.setenv("ALL_PROXY", "")
    monkeypatch.delenv("HTTPS_PROXY")
    assert load_settings().outbound.proxies.for_url("https://shop.example") is None


def test_the_names_are_those_of_other_programs_in_small_letters_too(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://ann:hush@proxy:3128")
    monkeypatch.setenv("no_proxy", ".internal.example")
    monkeypatch.setenv("all_proxy", "http://bob:hush@rest:3128")
    settings = load_settings()
    assert settings.outbound.proxies.fallback == parse_proxy("http://bob:hush@rest:3128")
    server = settings.outbound.proxies.for_url("https://api.kie.ai")
    assert server is not None
    assert (server.url, server.password) == ("http://proxy:3128", "hush")
    assert settings.outbound.proxies.for_url("https://a.internal.example") is None
    assert "hush" not in f"{settings!r} {settings.outbound!r}"
