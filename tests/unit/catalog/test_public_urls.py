"""Which image URLs are taken: those that Kie can reach from outside."""

from __future__ import annotations

import pytest

from shared.text_and_url_checks import URL_LENGTH_MAX, check_public_url

TAKEN = [
    "https://example.com/cat.png",
    "http://example.com",
    "HTTPS://EXAMPLE.COM/CAT.JPG",
    "https://example.com:8443/cat",
    "https://example.com./cat.png",
    "https://bucket.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=ab%2Fcd&X-Amz-Expires=600",
    "https://cdn_1.example.com/a.webp#x",
    "https://8.8.8.8/cat.png",
    "https://[2606:4700:4700::1111]/cat.png",
    "https://bücher.example/cat.png",
    "https://xn--bcher-kva.example/cat.png",
    "https://example.com/käse.png",
    "https://localhost.example.com/cat.png",
    "https://127.0.0.1.example.com/cat.png",
    "https://internal-tools.example.com/",
]

REFUSED = {
    "other schemes": [
        *("ftp://example.com/a", "file:///etc/passwd", "data:image/png;base64,AAAA"),
        *("//example.com/a", "example.com/a", "javascript:alert(1)", "https:example.com"),
    ],
    "no host": ["http://", "https:///a.png", "http://:80/", "http://./", "https://?x"],
    "credentials": [
        "https://user:secret@example.com/",
        "https://@example.com/",
        "http://a@8.8.8.8/",
    ],
    "single labels": ["http://localhost/", "http://LOCALHOST:80/", "http://db/", "http://cat./"],
    "private zones": [
        *(
            "http://printer.local/",
            "http://a.b.internal/",
            "http://x.localhost/",
            "http://nas.lan/",
        ),
        *("http://metadata.google.internal/", "http://router.home.arpa/", "http://a.onion/"),
        "http://x.internal./",
    ],
    "private addresses": [
        *("http://127.0.0.1/", "http://127.9.9.9/", "http://10.1.2.3/", "http://172.16.0.1/"),
        *("http://192.168.1.1/", "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/"),
        *("http://100.100.100.200/", "http://224.0.0.1/", "http://255.255.255.255/"),
        *("http://168.63.129.16/", "http://127.0.0.1./", "http://192.0.2.1/"),
    ],
    "addresses in disguise": [
        *("http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/"),
        *("http://127.1/", "http://127.0.1/", "http://017700000001/", "http://1/", "http://0/"),
        *("http://010.0.0.1/", "http://0X7F.1/", "http://134744072/", "http://256.1.1.1/"),
        *(
            "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
            "http://127。0。0。1/",
            "http://ⓛocalhost/",
            "http://%31%32%37.1/",
        ),
    ],
    "ipv6": [
        *("http://[::1]/", "http://[::]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/"),
        *(
            "http://[fc00::1]/",
            "http://[fd00:ec2::254]/",
            "http://[ff02::1]/",
            "http://[::7f00:1]/",
        ),
        *("http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/"),
        *("http://[2002:7f00:1::]/", "http://[2001:db8::1]/", "http://[zz]/", "http://[::1/"),
    ],
    "characters": [
        *("https://example.com/a b", " https://example.com/", "https://example.com/\n"),
        *("https://exa\tmple.com/", "https://example.com/\x00", "https://example.com\\@10.0.0.1/"),
        *("https://example.com/\u200b", "https://example.com/\ud800", "https://example.com/\u00a0"),
    ],
    "hosts nobody resolves": [
        *("https://exa$mple.com/", "https://a..example.com/", "https://" + "a" * 64 + ".com/"),
        *("https://" + "a." * 130 + "com/", "https://exam*ple.com/", "https://.example.com/"),
    ],
    "ports": ["https://example.com:99999/", "https://example.com:x/", "https://example.com:0/"],
}


@pytest.mark.parametrize("url", TAKEN)
def test_a_public_url_is_taken_as_it_is(url: str) -> None:
    assert check_public_url(url) == url


@pytest.mark.parametrize(
    "url", [url for urls in REFUSED.values() for url in urls], ids=lambda url: ascii(url)[:60]
)
def test_a_url_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|is|has|points)"):
        check_public_url(url)


@pytest.mark.parametrize("value", [None, 5, b"https://example.com/", ["https://example.com/"], ""])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="public http:// or https:// URL"):
        check_public_url(value)


def test_the_length_limit_is_exact() -> None:
    longest = "https://example.com/".ljust(URL_LENGTH_MAX, "a")
    assert check_public_url(longest) == longest
    with pytest.raises(ValueError, match="8193 characters long"):
        check_public_url(longest + "a")


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@example.com/", "ftp://example.com/?token=hunter2"]
)
def test_a_refusal_never_repeats_a_secret_of_the_url(url: str) -> None:
    with pytest.raises(ValueError, match="must") as refusal:
        check_public_url(url)
    assert "hunter2" not in str(refusal.value)
