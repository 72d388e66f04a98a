"""Parses URLs of Postgres, also with standbys."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

_FORBIDDEN_IN_SCHEMAS = re.compile(r"['\"\\$%\x00-\x1f\x7f]")
_NAME_BYTES_MAX = 63

_WRITABLE = frozenset({"read-write", "primary"})


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
