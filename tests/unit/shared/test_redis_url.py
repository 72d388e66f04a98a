"""`REDIS_URL` as providers and other clients write it, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.redis_url.redis_url import read_redis_url, redis_address, with_prefix
from shared.settings import Settings
from tests.support.tls_server import CA_FILE, CERTIFICATE_FILE, KEY_FILE

SECRETS = ("hunter", "s3cret")


def fault_of(url: str) -> str:
    """Return what the settings say about the URL. It contains no part of the password."""
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=url)
    (fault,) = caught.value.errors()
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return str(fault["msg"])


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        (
            "rediss://default:p%2Fw@eu1-happy-cat.upstash.io:6379",
            "eu1-happy-cat.upstash.io",
            6379,
            0,
        ),
        ("rediss://:p@master.x.use1.cache.amazonaws.com:6380/0", None, 6380, 0),
        ("redis://h:p@ec2-1-2-3-4.compute.amazonaws.com:27219?ssl_cert_reqs=none", None, 27219, 0),
        ("valkeys://u:p@v.aivencloud.com:12345/2", "v.aivencloud.com", 12345, 2),
        (
            "redis://default:p@redis.railway.internal:6379?family=0",
            "redis.railway.internal",
            6379,
            0,
        ),
        ("redis://cache/?db=3&socket_timeout=5&max_connections=20", "cache", 6379, 3),
        ("rediss://default:p@cache.example:6380/1?ssl=true\n", "cache.example", 6380, 1),
        ("redis://[2001:db8::7]:6381/4 ", "2001:db8::7", 6381, 4),
    ],
)
def test_urls_of_providers_are_taken_as_they_are(
    url: str, host: str | None, port: int, database: int
) -> None:
    plain = url.replace("redis://h:p@", "rediss://h:p@")
    Settings(redis_url=plain)
    read = read_redis_url(plain)
    assert read.hosts[0][1] == port
    assert host is None or read.hosts[0][0] == host
    assert read.database == database


def test_options_that_darkroom_sets_by_itself_are_told() -> None:
    read = read_redis_url(
        "redis://h?max_connections=20&protocol=3&PoolSize=1&dial_timeout=3".replace(
            "&PoolSize=1", ""
        )
    )
    assert read.ignored == ("dial_timeout", "max_connections", "protocol")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:hunter/s3cret@h:6379/0", "%2F for /"),
        ("redis://:hunter#s3cret@h:6379/0", "%23 for #"),
        ("redis://:hunter?s3cret@h", "%3F for ?"),
        ("redis://u:[hunter@h", "%5B for ["),
        ("redis://u:12/hunter", "must be a number"),
        ("redis://u:hunter/0", "a port, which is a number"),
        ("redis://u:hunter@a,b/0", "names several hosts"),
        ("redis://u:hunter@a:1,b:2", "need a hash tag in REDIS_PREFIX"),
        ("redis://:hunter@h/first", "must be a number"),
        ("redis://:hunter@h?foo=s3cret", "no parameter 'foo'; allowed are client_name, db"),
        ("rediss://:hunter@h?ssl_ca_cert=/x", "'ssl_ca_cert' (nearest: ssl_ca_certs); allowed"),
        ("redis://:hunter@h?ssl_keyfil=/x", "'ssl_keyfil' (nearest: ssl_keyfile); allowed"),
        ("redis://:hunter@h?pasword=s3cret", "'pasword' (nearest: password); allowed"),
        ("redis://:hunter@h?socket_timout=3", "'socket_timout' (nearest: socket_timeout)"),
        ("redis+sentinel://:hunter@h/s?sentinel_pasword=s3cret", "(nearest: sentinel_password)"),
        ("redis://:hunter@h?ssl=true", "say rediss://"),
        ("redis://:hunter@h?ssl_ca_certs=/x", "needs TLS: say rediss://"),
        ("redis://:hunter@h?prefix=a", "set REDIS_PREFIX"),
        ("redis://:hunter@h?darkroom_prefix=a", "set REDIS_PREFIX"),
        ("rediss://:hunter@h?ssl_cert_reqs=maybe", "required or none"),
        ("rediss://:hunter@h?ssl_check_hostname=maybe", "true or false"),
        ("rediss://:hunter@h?ssl_ca_path=/nowhere", "is no folder"),
        ("rediss://:hunter@h?ssl_ca_certs=/nowhere/ca.pem", "No such file"),
        (f"rediss://:hunter@h?ssl_ca_certs={__file__}", "cannot be read as certificates"),
        (f"rediss://:hunter@h?ssl_certfile={CERTIFICATE_FILE}", "cannot be used"),
        (f"rediss://:hunter@h?ssl_keyfile={KEY_FILE}", "needs ssl_certfile"),
        ("rediss+sentinel://:hunter@h/s?ssl_ca_certs=/nowhere/ca.pem", "No such file"),
        ("http://:hunter@h", "must begin with one of redis://"),
        ("'redis://:hunter@h'", "must begin with one of redis://"),
        ("rediss://:hunter@h?tls=false", "redis:// for none"),
        ("unix:///run/r.sock?password=hunter&ssl_ca_certs=/x", "a socket has none"),
        ("redis://:hunter%ff@h", "not the bytes of text in UTF-8"),
        ("redis://h?password=hunter%C3", "not the bytes of text in UTF-8"),
        ("redis+sentinel://:hunter@h/%E9tage", "not the bytes of text in UTF-8"),
        ("redis://:hunter@h?client_name=my%20shop", "client_name has other characters"),
    ],
)
def test_a_fault_is_one_sentence_without_the_password(url: str, words: str) -> None:
    assert words in fault_of(url)


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    assert redis_address("redis://u:hunter@[::1]:6380/2") == "[::1]:6380/2"


def test_a_ca_of_ones_own_and_a_certificate_are_read() -> None:
    query = f"ssl_ca_certs={CA_FILE}&ssl_certfile={CERTIFICATE_FILE}&ssl_keyfile={KEY_FILE}"
    Settings(redis_url=f"rediss://h?{query}")
    tls = read_redis_url(f"rediss://h?{query}").tls
    assert tls is not None
    assert tls.checks_hostname
    assert [one["subject"] for one in tls.open_context().get_ca_certs()] == [
        ((("commonName", "Darkroom tests, ca"),),)
    ], "the authorities of the system are not trusted besides"


def test_the_text_of_a_url_shows_no_password(tmp_path: Path) -> None:
    read = read_redis_url("rediss://u:hunter@h/1?password=s3cret")
    assert not any(secret in repr(read) + str(read) for secret in SECRETS)


def test_nodes_of_a_cluster_are_named_with_a_hash_tag() -> None:
    url = "rediss://u:p@a:1,b,c:3/0?ssl_cert_reqs=none"
    Settings(redis_url=url, redis_prefix="{shop}:")
    read = read_redis_url(with_prefix(url, "{shop}:"))
    assert read.hosts == (("a", 1), ("b", 6379), ("c", 3))
    with pytest.raises(ValidationError, match="hash tag"):
        Settings(redis_url=url, redis_prefix="shop:")


def test_the_prefix_is_kept_beside_any_url() -> None:
    for url in ("redis://h/1", "rediss://h?ssl_cert_reqs=none", "unix:///run/a.sock?db=2"):
        read = read_redis_url(with_prefix(url, "{shop}:"))
        assert read.prefix == "{shop}:"
        assert redis_address(with_prefix(url, "a:")).endswith("with the prefix a:")
    assert with_prefix("redis://h", "") == "redis://h"
