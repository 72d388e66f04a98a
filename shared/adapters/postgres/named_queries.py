"""Returns SQL statements by name from `sql/queries`. No statement is built from strings."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

_WRITE = re.compile(
    r"^[^-]*(\b(INSERT INTO|UPDATE|DELETE FROM)\b|\bFROM darkroom_\w+\()", re.MULTILINE
)
"""A call of a function of `sql/functions` counts as a write."""

_LOCKING = re.compile(
    r"^[^-]*(\b(INSERT INTO|UPDATE|DELETE FROM|FOR (NO KEY )?(UPDATE|SHARE))\b"
    r"|\b(darkroom_\w+|grant_credits)\()",
    re.MULTILINE,
)


def sql_folder() -> Path:
    """Return the folder `sql` of the checkout, or of the installed wheel."""
    checkout = Path(__file__).parents[3] / "sql"
    return checkout if (checkout / "migrations").is_dir() else Path(__file__).parents[2] / "_sql"


@cache
def _all_queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted((sql_folder() / "queries").glob("*.sql")):
        parts = _HEADER.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"query {name!r} is named twice, again in {file.name}")
            found[name] = text.strip()
    return found


def get_query(name: str) -> str:
    """Return the statement with that name. Raises `KeyError` for an unknown name."""
    return _all_queries()[name]


@cache
def is_write(name: str) -> bool:
    """Return whether the statement with that name writes rows."""
    return _WRITE.search(get_query(name)) is not None


@cache
def may_wait_for_lock(name: str) -> bool:
    """Return whether the statement with that name, or a function that it calls, locks rows."""
    return _LOCKING.search(get_query(name)) is not None


def query_names() -> frozenset[str]:
    """Return all names."""
    return frozenset(_all_queries())
