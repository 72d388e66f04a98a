"""One server or the Sentinels of a service, as `REDIS_URL` names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from shared.redis_url.tls_options import TlsOptions, read_tls_options
from shared.redis_url.url_options import (
    PREFIX,
    SENTINEL_NAMES,
    decode,
    find_ignored,
    login_of,
    read_options,
)

Address = tuple[str, int]

_PREFIX = re.compile(r"(?=.{1,64}$)[\w.:-]*(\{[\w.:-]+\})?[\w.:-]*", re.ASCII)

_CLIENT_NAME = re.compile(r"[!-~]+")

SCHEMES = {
    "redis": False,
    "valkey": False,
    "rediss": True,
    "valkeys": True,
    "unix": False,
    "redis+sentinel": False,
    "rediss+sentinel": True,
}
"""The schemes, and whether each means TLS."""
SENTINEL_SHAPE = "redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/database]"
_SENTINEL_PORT = 26379
_REDIS_PORT = 6379
_ESCAPE = (
    "Special characters in the user name and the password are escaped: %2F for /, %23 for #, %3F"
    " for ?, %40 for @, %3A for :, %5B for [, %25 for %"
)
_UNREADABLE = f"the URL cannot be taken apart. {_ESCAPE}"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where Redis is, and how to log in. No text of it contains a password."""

    hosts: tuple[Address, ...]
    """One server, nodes of a cluster, or the Sentinels. Empty for a Unix socket."""
    socket_path: str | None
    service: str | None
    """The service of which the Sentinels name the primary; None without Sentinels."""
    database: int
    username: str | None
    password: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    client_name: str | None
    tls: TlsOptions | None
    prefix: str
    """What all keys and channels begin with."""
    ignored: tuple[str, ...]
    """Parameters that Darkroom sets by itself, and takes from no URL."""

    @property
    def display_address(self) -> str:
        """The servers, the service, the database and the prefix, without credentials."""
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        service = "" if self.service is None else f"/{self.service}"
        prefix = self.prefix and f" with the prefix {self.prefix}"
        return f"{self.socket_path or hosts}{service}/{self.database}{prefix}"

    def __repr__(self) -> str:
        return f"RedisUrl({self.display_address})"


def read_redis_url(url: str) -> RedisUrl:
    """Parse a URL. Raises `ValueError` with a message without passwords."""
    parts = _split(url.strip())
    is_sentinel, is_socket = parts.scheme.endswith("+sentinel"), parts.scheme == "unix"
    has_tls = SCHEMES[parts.scheme]
    names = SENTINEL_NAMES if is_sentinel else frozenset({"db"})
    options = read_options(parts.query, has_tls=has_tls, names=names)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    username, password_ = login_of(options, decode(user) or None, decode(password) or None)
    service, database = _read_path(parts, options, is_sentinel=is_sentinel, is_socket=is_socket)
    prefix = options.get(PREFIX, "")
    return RedisUrl(
        hosts=_read_hosts(parts.scheme, hosts, prefix),
        socket_path=decode(parts.path) if is_socket else None,
        service=service,
        database=database,
        username=username,
        password=password_,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        client_name=_read_client_name(options.get("client_name")),
        tls=read_tls_options(options) if has_tls else None,
        prefix=prefix,
        ignored=tuple(find_ignored(parts.query)),
    )


def find_prefix_fault(prefix: str) -> str | None:
    """Return a sentence on what is wrong with a prefix of keys, or None."""
    if not _PREFIX.fullmatch(prefix):
        return (
            f"{prefix!r:.80} must be 1 to 64 letters, digits, `_`, `.`, `:` or `-`, with one hash"
            " tag in braces if needed: such as `shop:`, or `{shop}:` for a Redis Cluster"
        )
    return None


def has_hash_tag(prefix: str) -> bool:
    """Return whether all keys with this prefix have one slot of a cluster."""
    return "{" in prefix


def with_prefix(url: str | None, prefix: str | None) -> str:
    """Return the URL with what all keys and channels begin with; empty without a URL."""
    if not url or not prefix:
        return url or ""
    return f"{url.strip()}{'&' if '?' in url else '?'}{PREFIX}={quote(prefix, safe='')}"


def without_prefix(url: str) -> str:
    """Return the URL that `with_prefix` was given."""
    return re.sub(rf"[?&]{PREFIX}=[^&]*$", "", url)


def redis_address(url: str) -> str:
    """Return host:port/db of a Redis URL, or its socket and db, without credentials."""
    return read_redis_url(url).display_address


def _split(url: str) -> SplitResult:
    if url.partition("://")[0].lower() not in SCHEMES:
        allowed = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"the Redis URL must begin with one of {allowed}")
    try:
        parts = urlsplit(url)
    except ValueError:
        # The text of the error may contain the password.
        raise ValueError(_UNREADABLE) from None
    after_host = "" if parts.scheme == "unix" else f"{parts.path}{parts.query}"
    if "#" in url or "@" in after_host:
        raise ValueError(_UNREADABLE)
    return parts


def _read_path(
    parts: SplitResult, options: dict[str, str], *, is_sentinel: bool, is_socket: bool
) -> tuple[str | None, int]:
    if is_socket:
        if not parts.path.strip("/"):
            raise ValueError("a unix:// URL names the path of a socket: unix:///run/redis.sock")
        return None, _read_database(options.get("db", ""), "db")
    path = parts.path.strip("/")
    if not is_sentinel:
        return None, _read_database(options.get("db", path), "the database after the host")
    service, _, database = path.partition("/")
    if not service:
        raise ValueError(f"a Sentinel URL names a service: {SENTINEL_SHAPE}")
    return decode(service), _read_database(database, "the database after the service")


def _read_database(text: str, what: str) -> int:
    # Not shown: after an unescaped `/` it may be the rest of a password.
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ValueError(f"{what} must be a number, such as 0. {_ESCAPE}")
    return int(text or 0)


def _read_client_name(name: str | None) -> str | None:
    if name is not None and not _CLIENT_NAME.fullmatch(name):
        raise ValueError("client_name has other characters than visible ones of ASCII")
    return name


def _read_hosts(scheme: str, hosts: str, prefix: str) -> tuple[Address, ...]:
    if scheme == "unix":
        return _read_socket_host(hosts)
    if scheme.endswith("+sentinel"):
        return _read_sentinels(hosts)
    return _read_nodes(hosts, may_be_cluster=has_hash_tag(prefix))


def _read_socket_host(hosts: str) -> tuple[Address, ...]:
    if hosts:
        raise ValueError("a unix:// URL has three slashes before its path: unix:///run/r.sock")
    return ()


def _read_sentinels(hosts: str) -> tuple[Address, ...]:
    shape = f"a Sentinel is host or host:port, separated by commas: {SENTINEL_SHAPE}"
    return tuple(_read_host(text, _SENTINEL_PORT, shape) for text in hosts.split(","))


def _read_nodes(hosts: str, *, may_be_cluster: bool) -> tuple[Address, ...]:
    if "," in hosts and not may_be_cluster:
        raise ValueError(
            "the URL names several hosts: Redis has one primary. Sentinels are named by"
            f" {SENTINEL_SHAPE}; nodes of a cluster need a hash tag in REDIS_PREFIX, such as"
            " `{darkroom}:`"
        )
    shape = f"after the login come a host and a port, which is a number. {_ESCAPE}"
    names = (hosts or "localhost").split(",")
    return tuple(_read_host(text, _REDIS_PORT, shape) for text in names)


def _read_host(text: str, default_port: int, shape: str) -> Address:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError(shape)
    return host, default_port if port is None else port
