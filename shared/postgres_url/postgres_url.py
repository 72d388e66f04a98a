"""Parses Postgres URLs, also with several hosts and with parameters of other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import unquote, urlencode

from shared.postgres_url.parameters import sort_parameters

SCHEMES = ("postgresql", "postgres")
_DRIVER = re.compile(r"\+[a-z0-9_]{1,20}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_LARGEST_PORT = 65_535
_ENCODE = (
    "percent-encode the user and the password: / as %2F, @ as %40, # as %23, ? as %3F, % as %25,"
    " [ as %5B, a space as %20"
)


class UrlFault(ValueError):
    """The URL cannot be used. The message has no part of the password."""


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The parts of a Postgres URL."""

    hosts: tuple[tuple[str, int | None], ...]
    """Hosts or socket directories with their ports. Empty means the driver's default."""
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    parameters: Mapping[str, str]
    """The parameters in use, by libpq's names."""
    dropped: tuple[str, ...] = ()
    """The names of parameters that are not used."""
    statement_cache: bool | None = None
    """Whether prepared statements may be kept. None where the URL does not say it."""

    @property
    def address(self) -> str:
        """The hosts and the database, without credentials."""
        hosts = ",".join(_show_host(host, port) for host, port in self.hosts)
        return f"{hosts or 'localhost'}/{self.database or 'postgres'}"


def read_postgres_url(text: str) -> PostgresUrl:
    """Parse a URL. Raises `UrlFault` with a sentence that names the wrong part."""
    authority, path, query = _split(text.strip())
    login, at, hosts = authority.rpartition("@")
    if "@" in login or (not at and _has_stray_at(path, query)):
        raise UrlFault(f"the URL has an @ where none may be: {_ENCODE}")
    for part in (authority, path, query):
        if _BAD_ESCAPE.search(part):
            raise UrlFault(f"a % is not followed by two hexadecimal digits: {_ENCODE}")
    try:
        sorted_parameters = sort_parameters(_read_query(query))
    except UrlFault:
        raise
    except ValueError as error:
        raise UrlFault(str(error)) from None
    used = dict(sorted_parameters.used)
    user, colon, password = login.partition(":")
    return PostgresUrl(
        hosts=_read_hosts(hosts, used.pop("host", ""), used.pop("port", "")),
        user=used.pop("user", "") or _decode(user, "the user") or None,
        password=used.pop("password", None)
        or (_decode(password, "the password") if colon else None),
        database=used.pop("dbname", "") or _decode(path, "the database") or None,
        parameters=used,
        dropped=sorted_parameters.dropped,
        statement_cache=sorted_parameters.statement_cache,
    )


def set_parameter(text: str, name: str, value: str) -> str:
    """Return the URL with one more parameter, which comes after those of the same name."""
    return f"{text.strip()}{'&' if '?' in text else '?'}{urlencode({name: value})}"


def database_address(text: str) -> str:
    """Return host:port/name of a Postgres URL, without credentials."""
    return read_postgres_url(text).address


def _split(text: str) -> tuple[str, str, str]:
    """Return the authority, the path and the query."""
    scheme, separator, rest = text.partition("://")
    if not separator or _DRIVER.sub("", scheme.lower(), count=1) not in SCHEMES:
        allowed = ", ".join(f"{one}://" for one in SCHEMES)
        raise UrlFault(f"the database URL must begin with one of {allowed}")
    if _CONTROL.search(rest):
        raise UrlFault(f"the URL has a space or a control character: {_ENCODE}")
    if "#" in rest:
        raise UrlFault(f"the URL has a #: {_ENCODE}")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    return authority, path, query


def _decode(text: str, what: str) -> str:
    """Return the text without its escapes. Passwords are sent as UTF-8."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        decoded = "\0"
    if "\0" in decoded:
        raise UrlFault(f"{what} has escapes (%) that are not the bytes of text in UTF-8")
    return decoded


def _has_stray_at(path: str, query: str) -> bool:
    """Return whether an @ comes after the host: a password has an unescaped / or ?."""
    named = [part for part in query.split("&") if part.partition("=")[0] not in _WITH_AT]
    return "@" in path or any("@" in part for part in named)


_WITH_AT = frozenset({"user", "password", "options", "passfile"})


def _read_query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UrlFault(f"after the ? are name=value pairs, joined by &; or {_ENCODE}")
        # In libpq's URLs a + is no space.
        found[_decode(name, "a parameter")] = _decode(value, "a parameter")
    return found


def _read_hosts(authority: str, given: str, ports: str) -> tuple[tuple[str, int | None], ...]:
    """Return the hosts of the authority, or, where the query names hosts, those."""
    text = given or authority
    if not text:
        return ()
    hosts = [_read_host(one, encoded=not given) for one in text.split(",")]
    numbers = [read_port(one) for one in ports.split(",")] if ports else []
    if numbers and len(numbers) not in {1, len(hosts)}:
        raise UrlFault(f"port names {len(numbers)} ports for {len(hosts)} hosts")
    if not numbers:
        return tuple(hosts)
    many = numbers * len(hosts) if len(numbers) == 1 else numbers
    return tuple((host, number) for (host, _), number in zip(hosts, many, strict=True))


def _read_host(text: str, *, encoded: bool) -> tuple[str, int | None]:
    if text.startswith("/") or (not encoded and _is_ipv6(text)):
        return text, None
    match = _HOST.fullmatch(text)
    if match is None or not match["host"]:
        # What is here may be a password that ends at an unescaped character.
        raise UrlFault(
            "a host is a name, or an address (of IPv6 in brackets), with a port from 1 to 65535"
            " after a colon; several hosts are host or host:port each, separated by commas; or"
            f" {_ENCODE}"
        )
    host = match["host"].strip("[]")
    name = _decode(host, "a host") if encoded else host
    return name, read_port(match["port"]) if match["port"] else None


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _show_host(host: str, port: int | None) -> str:
    shown = f"[{host}]" if _is_ipv6(host) else host
    return f"{shown}:{port}" if port else shown


def read_port(text: str, variable: str | None = None) -> int:
    """Return the number of a port, of a URL or of a variable. Raises `UrlFault`."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= _LARGEST_PORT):
        allowed = f"is a number from 1 to {_LARGEST_PORT}"
        raise UrlFault(f"{variable} {allowed}" if variable else f"a port {allowed}; or {_ENCODE}")
    return int(text)
