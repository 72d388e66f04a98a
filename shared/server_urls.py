"""Parses URLs of servers, also of Postgres with standbys and of Redis behind Sentinels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode, urlsplit

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
SENTINEL_SHAPE = "redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/database]"
_SENTINEL_PORT = 26379
_REDIS_PORT = 6379
_FORBIDDEN_IN_SCHEMAS = re.compile(r"['\"\\$%\x00-\x1f\x7f]")
_NAME_BYTES_MAX = 63
_REDIS_DATABASE = "0"
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_WRITABLE = frozenset({"read-write", "primary"})


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """The Sentinels of a service, and the credentials of its primary."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    has_tls: bool

    @property
    def display_address(self) -> str:
        """The Sentinels, the service and the database, without credentials."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.sentinels)
        return f"{hosts}/{self.service}/{self.database}"


def is_sentinel_url(url: str) -> bool:
    """Return whether the scheme is a Sentinel scheme."""
    return url.partition("://")[0] in SENTINEL_SCHEMES


def read_sentinel_url(url: str) -> SentinelUrl:
    """Parse a Sentinel URL. Raises `ValueError` with a message without passwords."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError(f"a Sentinel URL names a service: {SENTINEL_SHAPE}")
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError(f"the database after the service must be a number: {SENTINEL_SHAPE}")
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(options.keys() - _SENTINEL_OPTIONS)
    if unknown:
        allowed = ", ".join(sorted(_SENTINEL_OPTIONS))
        raise ValueError(f"a Sentinel URL has no option {unknown[0]!r:.40}; allowed are {allowed}")
    return SentinelUrl(
        sentinels=tuple(_sentinel(text) for text in hosts.split(",")),
        service=unquote(service),
        database=int(database or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username", [""])[0] or None,
        sentinel_password=options.get("sentinel_password", [""])[0] or None,
        has_tls=parts.scheme == "rediss+sentinel",
    )


def _sentinel(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError(f"a Sentinel is host or host:port, separated by commas: {SENTINEL_SHAPE}")
    return host, _SENTINEL_PORT if port is None else port


def split_hosts(url: str) -> tuple[str, ...]:
    """Return one Postgres URL for each host in the URL. A URL with one host is returned unchanged.

    With several hosts, each returned URL requires a server that takes writes.
    """
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return (url,)
    query = parts.query
    if "target_session_attrs" not in parse_qs(query):
        query = f"{query}&" * bool(query) + "target_session_attrs=read-write"
    return tuple(
        parts._replace(netloc=f"{login}{at}{host}", query=query).geturl()
        for host in hosts.split(",")
    )


def find_host_fault(url: str) -> str | None:
    """Return a sentence on what is wrong with the hosts of a Postgres URL, or None."""
    parts = urlsplit(url)
    wanted = parse_qs(parts.query).get("target_session_attrs", ["read-write"])[0]
    if wanted not in _WRITABLE and "," in parts.netloc:
        return f"target_session_attrs={wanted!r:.40} leads to standbys: say read-write"
    for host in parts.netloc.rpartition("@")[2].split(","):
        try:
            is_named = bool(host) and urlsplit(f"//{host}").port != 0
        except ValueError:
            is_named = False
        if "," in parts.netloc and not is_named:
            return "several hosts are host or host:port each, separated by commas"
    return None


def redis_address(url: str) -> str:
    """Return host:port/db of a Redis URL, or its socket and db, without credentials."""
    if is_sentinel_url(url):
        return read_sentinel_url(url).display_address
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    if parts.scheme == "unix":
        return f"{unquote(parts.path)}/{options.get('db', [_REDIS_DATABASE])[0]}"
    path = parts.path.strip("/")
    database = options.get("db", [path or _REDIS_DATABASE])[0]
    return f"{parts.hostname or 'localhost'}:{parts.port or _REDIS_PORT}/{database}"


def database_address(url: str) -> str:
    """Return host:port/name of a Postgres URL, without credentials.

    The host can be a list of hosts, or the directory of a socket in the query.
    """
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or options.get("host", ["localhost"])[0]
    port = options.get("port")
    name = parts.path.strip("/") or options.get("dbname", [""])[0] or "postgres"
    return f"{hosts}{':' + port[0] if port else ''}/{name}"


def with_search_path(url: str, path: str) -> str:
    """Return the Postgres URL with that search_path among its `options`."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    given = [value for name, value in query if name == "options"]
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
    options = " ".join([*given, f"-csearch_path={escaped}"])
    kept = [(name, value) for name, value in query if name != "options"]
    return parts._replace(query=urlencode([*kept, ("options", options)], quote_via=quote)).geturl()


def find_schema_fault(schema: str) -> str | None:
    """Return why Darkroom's tables cannot be in a schema of that name, or None."""
    if not schema or len(schema.encode()) > _NAME_BYTES_MAX:
        return f"a schema has a name of 1 to {_NAME_BYTES_MAX} bytes"
    if _FORBIDDEN_IN_SCHEMAS.search(schema):
        return (
            "Darkroom's schema has no quotes, backslashes, $, % or control characters in its name"
        )
    if schema.startswith("pg_") or schema == "information_schema":
        return f"{schema} is a schema of Postgres itself"
    return None
