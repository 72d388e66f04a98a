"""Builds the TLS context of a Postgres connection from the parameters of its URL."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.postgres_url.parameters import SSL_MODES, TLS_FILES
from shared.postgres_url.postgres_url import UrlFault

SYSTEM = "system"
"""The `sslrootcert` that stands for the certificate authorities of this machine."""
_VERIFIES_HOST = "verify-full"
_VERIFIES = ("verify-ca", _VERIFIES_HOST)
_OF_ENVIRONMENT = {
    "sslmode": "PGSSLMODE",
    **{name: f"PG{name.upper()}" for name in TLS_FILES},
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "sslcertmode": "PGSSLCERTMODE",
}
_OF_HOME = {
    "sslrootcert": "root.crt",
    "sslcrl": "root.crl",
    "sslcert": "postgresql.crt",
    "sslkey": "postgresql.key",
}
_DEFAULT_MODE = "prefer"
_PROTOCOL = "postgresql"


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections are encrypted."""

    mode: str
    """One of libpq's `sslmode`s."""
    context: ssl.SSLContext | None
    """None with the mode `disable`."""
    is_direct: bool = False
    """Whether TLS begins without Postgres's own request for it."""


def make_tls(
    parameters: Mapping[str, str], environ: Mapping[str, str] = os.environ, home: Path | None = None
) -> Tls:
    """Build the context. Raises `UrlFault`, which names the parameter, for unusable files.

    Parameters that the URL lacks are read from the environment, and files from `~/.postgresql`, as
    libpq does. `home` replaces the home directory. Files there that this user cannot read are
    ignored.
    """
    given = {
        name: value
        for name, variable in _OF_ENVIRONMENT.items()
        if (value := parameters.get(name) or environ.get(variable))
    }
    is_system = given.get("sslrootcert") == SYSTEM
    mode = given.get("sslmode") or (_VERIFIES_HOST if is_system else _DEFAULT_MODE)
    if mode not in SSL_MODES:
        raise UrlFault(f"PGSSLMODE must be one of {', '.join(SSL_MODES)}")
    if is_system and mode != _VERIFIES_HOST:
        raise UrlFault(f"sslrootcert=system needs sslmode=verify-full, not {mode}")
    is_direct = parameters.get("sslnegotiation") == "direct"
    if is_direct and mode not in ("require", *_VERIFIES):
        raise UrlFault("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")
    if mode == "disable":
        return Tls(mode, None)
    files = {**_files_of_home(home), **given}
    return Tls(mode, _build_context(mode, files, parameters.get("sslpassword", "")), is_direct)


def _files_of_home(home: Path | None) -> dict[str, str]:
    try:
        folder = (home or Path.home()) / ".postgresql"
    except RuntimeError:
        return {}
    paths = {name: folder / file for name, file in _OF_HOME.items()}
    return {name: str(path) for name, path in paths.items() if is_readable(path)}


def is_readable(path: Path) -> bool:
    """Return whether this user can read the file. The home may be of another user."""
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _build_context(mode: str, files: Mapping[str, str], password: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == _VERIFIES_HOST
    verifies = mode in _VERIFIES or (mode == "require" and "sslrootcert" in files)
    if not verifies:
        context.verify_mode = ssl.CERT_NONE
    elif files.get("sslrootcert") == SYSTEM:
        context.load_default_certs()
    elif "sslrootcert" in files:
        _load("sslrootcert", files["sslrootcert"], context.load_verify_locations)
    else:
        raise UrlFault(
            f"sslmode={mode} needs sslrootcert: the file with the certificate of the authority, or"
            " sslrootcert=system for those that this machine trusts"
        )
    if verifies and "sslcrl" in files:
        _load("sslcrl", files["sslcrl"], context.load_verify_locations)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if "sslcert" in files and files.get("sslcertmode") != "disable":
        key = files.get("sslkey")
        if key is not None:
            _load("sslkey", key, lambda path: Path(path).read_bytes())
        _load(
            "sslcert", files["sslcert"], lambda path: context.load_cert_chain(path, key, password)
        )
    context.minimum_version = _version(files.get("ssl_min_protocol_version", "TLSv1.2"))
    if "ssl_max_protocol_version" in files:
        highest = _version(files["ssl_max_protocol_version"])
        if highest < context.minimum_version:
            raise UrlFault("ssl_max_protocol_version is below ssl_min_protocol_version (TLSv1.2)")
        context.maximum_version = highest
    context.set_alpn_protocols([_PROTOCOL])
    return context


def _load(name: str, path: str, load: Callable[[str], object]) -> None:
    try:
        load(path)
    except ssl.SSLError as error:
        raise UrlFault(f"{name}: {path} cannot be used: {error.reason or error}") from None
    except OSError as error:
        raise UrlFault(f"{name}: {path} cannot be read: {error.strerror or error}") from None


def _version(name: str) -> ssl.TLSVersion:
    try:
        return ssl.TLSVersion[name.replace(".", "_")]
    except KeyError:
        raise UrlFault(f"there is no TLS version {name!r:.20}") from None
