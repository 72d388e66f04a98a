"""Translates a Postgres URL into arguments of the driver."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shared.errors import DatabaseUrlRefused
from shared.postgres_url import PostgresUrl, UrlFault, read_postgres_url
from shared.postgres_url.parameters import KEEPALIVE, SERVER_SETTINGS
from shared.postgres_url.passwords import find_password_file, read_password
from shared.postgres_url.postgres_url import read_port
from shared.postgres_url.tls import make_tls

PLAIN = False
"""The driver's `ssl` for a connection without TLS."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Arguments of the driver for one host."""

    arguments: Mapping[str, Any]
    tls: tuple[Any, ...]
    """Values of the driver's `ssl`. The second is tried where the server refuses the first."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What a URL says about connecting."""

    attempts: tuple[Attempt, ...]
    """One for each host."""
    server_settings: Mapping[str, str]
    keepalive: Mapping[str, str]
    """The keepalive parameters of libpq."""
    timeout_seconds: float | None


def read_connect_options(text: str, environ: Mapping[str, str] = os.environ) -> ConnectOptions:
    """Return what to connect with. Raises `DatabaseUrlRefused`.

    Certificates and passwords are read again at each call.
    """
    try:
        url = read_postgres_url(text)
        return ConnectOptions(
            attempts=_attempts(url, environ),
            server_settings={
                name: value for name, value in url.parameters.items() if name in SERVER_SETTINGS
            },
            keepalive={name: url.parameters[name] for name in KEEPALIVE & url.parameters.keys()},
            timeout_seconds=float(url.parameters.get("connect_timeout", 0)) or None,
        )
    except UrlFault as fault:
        raise DatabaseUrlRefused(f"DATABASE_URL cannot be used: {fault}") from fault


def _attempts(url: PostgresUrl, environ: Mapping[str, str]) -> tuple[Attempt, ...]:
    tls = make_tls(url.parameters, environ)
    order = {"disable": (PLAIN,), "allow": (PLAIN, tls.context), "prefer": (tls.context, PLAIN)}
    user = url.user or environ.get("PGUSER") or _system_user()
    shared = {
        "user": user,
        "database": url.database or environ.get("PGDATABASE") or user,
        # Never None, with which the driver would read PGTARGETSESSIONATTRS and PGSSLNEGOTIATION.
        "target_session_attrs": url.parameters.get(
            "target_session_attrs", "read-write" if len(url.hosts) > 1 else "any"
        ),
        "direct_tls": tls.is_direct,
    }
    _check_environment(url, environ)
    file = find_password_file(url, environ)
    attempts = []
    for host, port in url.hosts or (("", None),):
        password = url.password if file is None else _reader(file, host, port, shared, environ)
        place = {"host": host or None, "port": port, "password": password}
        # The driver ignores TLS on a socket, and its second try would be the same.
        modes = (PLAIN,) if host.startswith("/") else order.get(tls.mode, (tls.context,))
        attempts.append(Attempt({**shared, **place}, modes))
    return tuple(attempts)


def _check_environment(url: PostgresUrl, environ: Mapping[str, str]) -> None:
    """Raise `UrlFault` for a host or a port of the environment that cannot be used."""
    host, port = environ.get("PGHOST", ""), environ.get("PGPORT", "")
    if not url.hosts and "," in host:
        raise UrlFault("PGHOST names several hosts: name them in the URL")
    if not all(number for _, number in url.hosts or (("", None),)) and port:
        read_port(port, "PGPORT")


def _reader(
    file: Path,
    host: str,
    port: int | None,
    names: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Callable[[], str | None]:
    return partial(
        read_password,
        file,
        host=host or environ.get("PGHOST", "localhost"),
        port=str(port or environ.get("PGPORT", "5432")),
        user=names["user"],
        database=names["database"],
    )


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise UrlFault(
            "it names no user, and neither does PGUSER, nor has this user of the system a name"
        ) from None
