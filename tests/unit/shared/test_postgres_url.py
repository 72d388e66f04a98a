"""Postgres URLs as providers and other programs write them: what is used, dropped and refused."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from shared.postgres_url import (
    UrlFault,
    database_address,
    read_postgres_url,
    require_usable,
    set_parameter,
)

SECRET = "hush"


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg", "POSTGRES+psycopg"]
)
def test_the_schemes_of_other_drivers_are_accepted(scheme: str) -> None:
    url = read_postgres_url(f"{scheme}://ann:{SECRET}@db:5433/shop")
    assert (url.hosts, url.user, url.password, url.database) == (
        (("db", 5433),),
        "ann",
        SECRET,
        "shop",
    )


@pytest.mark.parametrize(
    ("url", "used", "dropped"),
    [
        (  # Neon
            "postgresql://u:p@ep.tech/d?sslmode=require&channel_binding=require&options=a%3Dx",
            {"sslmode": "require", "options": "a=x"},
            ("channel_binding",),
        ),
        (  # Supabase, as Prisma writes it
            "postgres://a.b:p@x.co:6543/d?pgbouncer=true&connection_limit=1&pool_timeout=2&schema=a",
            {},
            ("pgbouncer", "connection_limit", "pool_timeout", "schema"),
        ),
        (
            "postgresql://u@h/db?ssl=true&application_name=web",
            {"sslmode": "require"},
            ("application_name",),
        ),
        ("postgresql://u@h/db?gssencmode=disable&sslsni=1&client_encoding=utf8", {}, ()),
        (
            "postgresql://u@h/db?connect_timeout=10&keepalives_idle=30&pool_max_conns=5",
            {"connect_timeout": "10", "keepalives_idle": "30"},
            ("pool_max_conns",),
        ),
        (
            "postgresql://u@h/db?statement_timeout=5000&whatever=1",
            {"statement_timeout": "5000"},
            ("whatever",),
        ),
        (  # a template whose variables are empty
            "postgresql://u@h/db?options=&search_path=&role=&timezone=&work_mem=",
            {},
            (),
        ),
        (
            "postgresql://u@h/db?sslsni=0&client_encoding=latin1&sslcompression=0&krbsrvname=pg",
            {},
            ("sslsni", "client_encoding"),
        ),
        ("postgresql://u@h/db?sslcertmode=disable", {"sslcertmode": "disable"}, ()),
    ],
)
def test_each_parameter_is_used_or_named_as_unused(
    url: str, used: dict[str, str], dropped: tuple[str, ...]
) -> None:
    found = read_postgres_url(url)
    assert (found.parameters, found.dropped) == (used, dropped)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmod=require", "sslmod is no parameter: sslmode is"),
        ("ssl_mode=require", "sslmode is"),
        ("sslrootcrt=x", "sslrootcert is"),
        ("conect_timeout=3", "connect_timeout is"),
        ("target_session_attr=primary", "target_session_attrs is"),
        ("aplication_name=shop", "aplication_name is no parameter: application_name is"),
        ("hsot=db", "hsot is no parameter: host is"),
        ("sslmode=on", "sslmode: 'on' is not possible; allowed are disable, allow, prefer"),
        ("connect_timeout=soon", "connect_timeout must be a whole number"),
        ("keepalives_idle=99999", "keepalives_idle must be a whole number from 0 to 32767"),
        ("keepalives_count=128", "keepalives_count must be a whole number from 0 to 127"),
        ("tcp_user_timeout=99999999999", "tcp_user_timeout must be a whole number"),
        ("sslmode=", "sslmode: is empty"),
        ("sslcertmode=require", "sslcertmode"),
        (
            "ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "ssl_max_protocol_version is below",
        ),
        ("ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version is below"),
        ("gssencmode=require", "gssencmode"),
        ("target_session_attrs=standby", "target_session_attrs: 'standby'"),
        ("service=shop", "service cannot be kept"),
        ("require_auth=scram-sha-256", "require_auth cannot be kept"),
        ("sslnegotiation=direct&sslmode=prefer", "sslnegotiation=direct needs"),
        ("ssl_min_protocol_version=TLSv9", "ssl_min_protocol_version"),
        ("sslmode=verify-ca&sslrootcert=/none.crt", "sslrootcert: /none.crt cannot be read"),
        ("sslmode=require&sslcert=/none.crt", "sslcert: /none.crt cannot be read"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system needs sslmode=verify-full"),
        ("sslmode=verify-full", "needs sslrootcert"),
        ("passfile=/none", "passfile: /none cannot be read"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(UrlFault, match=re.escape(said)):
        require_usable(f"postgresql://u@h/db?{query}")


OF_LIBPQ = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "passfile",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "sslmode",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "require_auth",
    "channel_binding",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "target_session_attrs",
    "load_balance_hosts",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "service",
    "hostaddr",
    "replication",
    "min_protocol_version",
    "max_protocol_version",
]


def misspellings(name: str) -> set[str]:
    """Return the name with one letter left out, doubled, or exchanged with the next one."""
    found = {name.replace("_", ""), name.replace("_", "-")}
    for i in range(len(name)):
        found |= {name[:i] + name[i + 1 :], name[:i] + name[i] + name[i:]}
        found.add(name[:i] + name[i + 1 : i + 2] + name[i] + name[i + 2 :])
    return found - set(OF_LIBPQ) - {"connecttimeout"}  # of JDBC


@pytest.mark.parametrize("name", OF_LIBPQ)
def test_a_misspelled_parameter_of_libpq_is_refused_with_the_right_name(name: str) -> None:
    for wrong in misspellings(name):
        with pytest.raises(UrlFault, match=f"^{wrong} is no parameter: {name} is$"):
            read_postgres_url(f"postgresql://u@h/db?{wrong}=1")


def test_parameters_of_other_programs_are_dropped_even_if_they_resemble_one_of_libpq() -> None:
    query = "socket_timeout=3&tcpKeepAlive=true&connectTimeout=1&loginTimeout=5&encoding=utf8"
    found = read_postgres_url(f"postgresql://u@h/db?{query}")
    assert found.dropped == tuple(part.partition("=")[0] for part in query.split("&"))


@pytest.mark.parametrize(
    "character", ["/", "@", "#", "?", "%", " ", "\n", "%zz", "/5432@", "?a=b@", "[@"]
)
@pytest.mark.parametrize("place", ["{}hush", "hu{}sh", "12{}hush"])
def test_an_unescaped_password_is_refused_without_showing_it(character: str, place: str) -> None:
    password = place.format(character)
    with pytest.raises(UrlFault, match="percent-encode") as caught:
        read_postgres_url(f"postgresql://ann:{password}@db.example/shop?sslmode=require")
    assert "hu" not in str(caught.value)
    assert "12" not in str(caught.value)


@pytest.mark.parametrize("password", ["a:hush", "[hush", "hush]", "hu&sh=1", "+hush"])
def test_a_password_that_leaves_no_doubt_is_taken_as_it_is(password: str) -> None:
    url = read_postgres_url(f"postgresql://ann:{password}@db.example/shop")
    assert (url.password, url.hosts) == (password, (("db.example", None),))
    assert "hu" not in repr(url)


@pytest.mark.parametrize("url", ["u:hush%00@h/d", "hush%ff:p@h/d", "u@h/hush%c3", "h?user=hush%ff"])
def test_escapes_that_are_no_text_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(UrlFault, match="not the bytes of text in UTF-8") as caught:
        read_postgres_url(f"postgresql://{url}")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("password", ["p%40ss", "a%2Fb%3F%23", "a:b", "%25", "a%20b"])
def test_an_encoded_password_is_read(password: str) -> None:
    url = read_postgres_url(f"postgresql://ann:{password}@db.example/shop")
    assert url.password == unquote(password)
    assert url.hosts == (("db.example", None),)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://a:1,b:2/db", (("a", 1), ("b", 2))),
        ("postgresql://[::1]:7,[fe80::2]/db", (("::1", 7), ("fe80::2", None))),
        ("postgresql://%2Frun%2Fpg:5432/db", (("/run/pg", 5432),)),
        ("postgresql:///db?host=/run/pg&port=7", (("/run/pg", 7),)),
        ("postgresql://localhost/db?host=/cloudsql/a:b:c", (("/cloudsql/a:b:c", None),)),
        ("postgresql:///db?host=::1,fe80::2%25eth0&port=7", (("::1", 7), ("fe80::2%eth0", 7))),
        ("postgresql:///db?host=a,b&port=1,2", (("a", 1), ("b", 2))),
        ("postgresql:///db", ()),
    ],
)
def test_hosts_are_found_wherever_libpq_has_them(url: str, hosts: tuple[object, ...]) -> None:
    assert read_postgres_url(url).hosts == hosts


@pytest.mark.parametrize("authority", ["h:0", "h:65536", "h:5x", "a,,b", "[::1", "a:1,b:"])
def test_a_wrong_host_is_refused(authority: str) -> None:
    with pytest.raises(UrlFault):
        read_postgres_url(f"postgresql://{authority}/db")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("pgbouncer=true", False),
        ("prepared_statement_cache_size=0", False),
        ("prepareThreshold=0", False),
        ("default_query_exec_mode=simple_protocol", False),
        ("pgbouncer=false", None),
        ("statement_cache_size=0", False),
        ("pgbouncer=true&statement_cache_size=100", True),
    ],
)
def test_what_tells_other_drivers_of_a_pooler_tells_us(query: str, expected: bool | None) -> None:
    assert read_postgres_url(f"postgresql://u@h/db?{query}").statement_cache is expected


def test_a_setting_is_added_to_any_url() -> None:
    for url in ("postgresql://h/db", "postgresql://h/db?sslmode=disable", "postgresql://h"):
        assert (
            read_postgres_url(set_parameter(url, "statement_cache_size", "0")).statement_cache
            is False
        )


def test_several_hosts_must_lead_to_a_primary() -> None:
    with pytest.raises(UrlFault, match="target_session_attrs"):
        require_usable("postgresql://a,b/db?target_session_attrs=any")
    require_usable("postgresql://a,b/db?target_session_attrs=primary")
    assert database_address("postgresql://u:hush@a:1,b/db") == "a:1,b/db"
    assert database_address("postgresql://u:hush@[::1]:1,[fe80::2]/db") == "[::1]:1,[fe80::2]/db"


def test_a_home_that_is_not_there_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "none" / "root"))
    require_usable("postgresql://u@h/db")
    require_usable("postgresql://u@h/db?sslmode=require")
