"""Reads passwords from libpq's password files, anew for each connection."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from shared.postgres_url.postgres_url import PostgresUrl, UrlFault
from shared.postgres_url.tls import is_readable

_LOCALHOST = "localhost"
_FIELDS = 5
_WRITABLE_OR_PUBLIC = stat.S_IWGRP | stat.S_IRWXO
_ESCAPED = re.compile(r"\\(.)")
_COLON = re.compile(r"(?<!\\):")


def find_password_file(
    url: PostgresUrl, environ: Mapping[str, str] = os.environ, home: Path | None = None
) -> Path | None:
    """Return the file that has the password, or None where the URL or PGPASSWORD has it.

    It is the `passfile` of the URL, else PGPASSFILE, else `~/.pgpass` if this user can read it.
    Raises `UrlFault` where a named file cannot be read or used.
    """
    if url.password is not None or environ.get("PGPASSWORD"):
        return None
    for name, given in (
        ("passfile", url.parameters.get("passfile")),
        ("PGPASSFILE", environ.get("PGPASSFILE")),
    ):
        if given:
            _require_usable(name, Path(given))
            return Path(given)
    try:
        file = (home or Path.home()) / ".pgpass"
    except RuntimeError:
        return None
    return file if is_readable(file) and not _is_open_to_others(file) else None


def read_password(file: Path, *, host: str, port: str, user: str, database: str) -> str | None:
    """Return the password of the first line of the file that fits. None where no line does.

    A line is `host:port:database:user:password`, or `*` for any. Raises `OSError`.
    """
    wanted = (_LOCALHOST if host.startswith("/") else host, port, database, user)
    for line in file.read_text(encoding="utf-8").splitlines():
        fields = [_ESCAPED.sub(r"\1", one) for one in _COLON.split(line, maxsplit=_FIELDS - 1)]
        if line.startswith("#") or len(fields) != _FIELDS:
            continue
        if all(field in {"*", value} for field, value in zip(fields, wanted, strict=False)):
            return fields[-1]
    return None


def _require_usable(name: str, file: Path) -> None:
    try:
        with file.open("rb"):
            pass
        is_open = _is_open_to_others(file)
    except OSError as error:
        raise UrlFault(f"{name}: {file} cannot be read: {error.strerror or error}") from None
    if is_open:
        raise UrlFault(
            f"{name}: {file} can be read by every user or written by its group: chmod 0600 or 0640"
        )


def _is_open_to_others(file: Path) -> bool:
    return bool(file.stat().st_mode & _WRITABLE_OR_PUBLIC)
