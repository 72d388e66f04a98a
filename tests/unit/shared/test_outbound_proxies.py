"""`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: which URL goes through which proxy."""

from __future__ import annotations

import pytest

from shared.domain.outbound_proxies import OutboundProxies, parse_exceptions, parse_proxy
from shared.errors import ConfigurationError
from shared.settings import load_settings

SECURE, PLAIN = parse_proxy("http://proxy:3128"), parse_proxy("proxy2:8888")


def chosen(url: str, direct: str = "") -> str | None:
    """Return the URL of the proxy for a URL, or None."""
    server = OutboundProxies(SECURE, PLAIN, parse_exceptions(direct)).for_url(url)
    return None if server is None else server.url


def test_the_scheme_of_the_target_chooses_the_proxy() -> None:
    assert chosen("https://api.kie.ai/api/v1") == "http://proxy:3128"
    assert chosen("http://shop.example/hook") == "http://proxy2:8888"
    assert OutboundProxies(https=SECURE).for_url("http://shop.example/") is None


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


def test_the_names_are_those_of_other_programs_in_small_letters_too(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://ann:hush@proxy:3128")
    monkeypatch.setenv("no_proxy", ".internal.example")
    settings = load_settings()
    server = settings.outbound.proxies.for_url("https://api.kie.ai")
    assert server is not None
    assert (server.url, server.password) == ("http://proxy:3128", "hush")
    assert settings.outbound.proxies.for_url("https://a.internal.example") is None
    assert "hush" not in f"{settings!r} {settings.outbound!r}"
