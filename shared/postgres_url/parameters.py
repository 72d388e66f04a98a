"""The parameters of Postgres URLs: those of libpq, and those that other programs add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
WRITABLE = ("any", "read-write", "primary")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

_PLACES = frozenset({"host", "port", "user", "password", "dbname", "passfile"})
_TLS = frozenset(
    {
        *("sslmode", *TLS_FILES, "sslpassword", "sslnegotiation", "sslcertmode"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
    }
)
KEEPALIVE = frozenset(
    {
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        "tcp_user_timeout",
    }
)
_INT_MAX = 2_147_483_647
_LARGEST = {
    # What Linux takes.
    "keepalives_idle": 32_767,
    "keepalives_interval": 32_767,
    "keepalives_count": 127,
    "tcp_user_timeout": _INT_MAX,
    "connect_timeout": _INT_MAX,
}
SERVER_SETTINGS = frozenset(
    {
        *("options", "search_path", "statement_timeout", "lock_timeout"),
        *("idle_in_transaction_session_timeout", "timezone", "work_mem"),
        "role",  # without it, the session would have more rights than its URL says
    }
)
"""Are sent to the server at connect, as libpq sends `options`."""
_USED = _PLACES | _TLS | KEEPALIVE | {"connect_timeout", "target_session_attrs"} | SERVER_SETTINGS

_ALWAYS_SO = {
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "client_encoding": ("auto", "utf8", "utf-8", "unicode"),
    "gssencmode": ("disable", "prefer"),
    "gssdelegation": ("0",),
    "channel_binding": ("disable", "prefer"),
    "min_protocol_version": ("3.0", "latest"),
    "max_protocol_version": ("3.0", "latest"),
}
"""Values that change nothing, because what they ask for is so in any case."""
_OF_KERBEROS = frozenset({"krbsrvname", "gsslib"})
_CHOICES = {
    "sslmode": SSL_MODES,
    "target_session_attrs": WRITABLE,
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "keepalives": ("0", "1"),
    "sslcertmode": ("disable", "allow"),
}
_REFUSED = {
    "service": "write what the service file has into the URL",
    "hostaddr": "write the address in place of the host",
    "sslcrldir": "name one file by sslcrl",
    "require_auth": "the way to log in is the server's choice here",
    "requirepeer": "the user of a socket is not checked here",
    "replication": "a replication connection runs no queries",
}
_STRANGERS = frozenset(
    {
        # Prisma
        *("pgbouncer", "schema", "connection_limit", "pool_timeout", "socket_timeout"),
        *("sslaccept", "sslidentity", "single_use_connections"),
        # SQLAlchemy, asyncpg, psycopg
        *("statement_cache_size", "prepared_statement_cache_size", "prepare_threshold"),
        *("prepared_statement_name_func", "async_fallback", "command_timeout"),
        # pgx and lib/pq
        *("pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time"),
        *("pool_health_check_period", "default_query_exec_mode", "statement_cache_capacity"),
        *("description_cache_capacity", "binary_parameters", "pool_max_conn_lifetime_jitter"),
        # JDBC
        *("preparethreshold", "currentschema", "sslfactory", "logintimeout", "sockettimeout"),
        *("connecttimeout", "tcpkeepalive", "rewritebatchedinserts", "targetservertype"),
        # Node, Rails, Django, Supabase
        *("uselibpqcompat", "pool", "prepared_statements", "max", "supa", "workaround"),
        *("conn_max_age", "conn_health_checks", "reaping_frequency", "checkout_timeout"),
        *("disable_server_side_cursors", "encoding", "adapter", "pool_size", "max_overflow"),
    }
)
_UNUSED = frozenset({"application_name", "fallback_application_name", "load_balance_hosts"})
"""Parameters of libpq that Darkroom sets by itself, or does not need."""
_OF_LIBPQ = _USED | _OF_KERBEROS | _ALWAYS_SO.keys() | _CHOICES.keys() | _REFUSED.keys() | _UNUSED
_ALIASES = {"database": "dbname", "username": "user"}
_POOLER_HINTS = {
    "pgbouncer": ("true", "1"),
    "prepared_statement_cache_size": ("0",),
    "preparethreshold": ("0",),
    "prepared_statements": ("false",),
    "default_query_exec_mode": ("simple_protocol", "exec"),
}
"""By these, other programs are told that a transaction pooler is between."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,40}")
_SIMILARITY = 0.82
_SHORT_LETTERS, _SHORT_SIMILARITY = 5, 0.75
"""Two letters of `host` exchanged leave less of it than of a long name."""


@dataclass(frozen=True, slots=True)
class SortedParameters:
    """The parameters of one URL, by what is done with them."""

    used: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    """Names of parameters that are not Darkroom's, or that it cannot keep."""
    statement_cache: bool | None = None
    """Whether the URL says that prepared statements may be kept. None where it says nothing."""


def sort_parameters(given: Mapping[str, str]) -> SortedParameters:
    """Sort the parameters of a URL. Raises `ValueError` with a sentence that names one."""
    used: dict[str, str] = {}
    dropped: list[str] = []
    for written, value in given.items():
        name = _ALIASES.get(written.lower(), written)
        if name == "ssl":
            name, value = "sslmode", _read_ssl(value)
        if name in _REFUSED:
            raise ValueError(f"{name} cannot be kept: {_REFUSED[name]}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(_choice_fault(name, value))
        if name in _LARGEST:
            _require_number(name, value)
        if name in _USED:
            # As in libpq, an empty setting is not sent.
            if value or name not in SERVER_SETTINGS:
                used[name] = value
        elif value.lower() not in _ALWAYS_SO.get(name, ()) and name not in _OF_KERBEROS:
            if name not in _ALWAYS_SO:
                _refuse_typo(name)
            dropped.append(name)
    return SortedParameters(used, tuple(dropped), _read_cache(given))


def _read_ssl(value: str) -> str:
    """Return the mode that drivers mean by `ssl=true` and the like, as libpq reads it."""
    known = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
    return known.get(value.lower(), value)


def _require_number(name: str, value: str) -> None:
    largest = _LARGEST[name]
    if not (value.isascii() and value.isdecimal() and len(value) <= 10 and int(value) <= largest):
        raise ValueError(f"{name} must be a whole number from 0 to {largest}")


def _choice_fault(name: str, value: str) -> str:
    allowed = ", ".join(_CHOICES[name])
    is_word = value.isascii() and value.replace("-", "").isalnum()
    shown = f"{value!r:.40} is not possible" if is_word else "is unknown" if value else "is empty"
    return f"{name}: {shown}; allowed are {allowed}"


def _refuse_typo(name: str) -> None:
    if name.lower() in _STRANGERS or name in _UNUSED:
        return
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a parameter has a name of other characters than letters, digits, _, . and -"
        )
    least = _SHORT_SIMILARITY if len(name) <= _SHORT_LETTERS else _SIMILARITY
    for known in get_close_matches(name.lower(), sorted(_OF_LIBPQ), 1, least):
        raise ValueError(f"{name} is no parameter: {known} is")


def _read_cache(given: Mapping[str, str]) -> bool | None:
    values = {name.lower(): value.lower() for name, value in given.items()}
    size = values.get("statement_cache_size", "")
    if size.isascii() and size.isdecimal():
        return int(size) > 0
    return False if any(values.get(name) in told for name, told in _POOLER_HINTS.items()) else None
