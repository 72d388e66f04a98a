"""Examines what the database roles of this Darkroom may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from producer.finding import Finding
from shared.adapters.postgres import Queries

_SERVICE = "darkroom_service"
_NAMED_AT_MOST = 6


async def examine_privileges(queries: Queries) -> Finding:
    """Find what a role lacks: the doctor's own, and those by which processes are connected.

    Raises `PostgresDown`.
    """
    rows = await queries.fetch("missing_privileges")
    if not rows:
        return Finding("privileges", True, "the roles in use may do all that is needed")
    lacking: dict[str, list[Any]] = {}
    for row in rows:
        lacking.setdefault(row["role"], []).append(row)
    return Finding(
        "privileges",
        False,
        "; ".join(f"role {role} lacks {_named(of_role)}" for role, of_role in lacking.items()),
        "as the owner of the database: " + "; ".join(_statements(lacking)),
    )


def _named(rows: Sequence[Any]) -> str:
    names = [row["privilege"] for row in rows[:_NAMED_AT_MOST]]
    left = len(rows) - len(names)
    return ", ".join(names) + (f" and {left} more" if left else "")


def _statements(lacking: dict[str, list[Any]]) -> list[str]:
    """Return what mends it, each statement once."""
    found: dict[str, None] = {}
    for role, rows in lacking.items():
        of_members = [row for row in rows if row["service_has_it"] and not row["is_member"]]
        if of_members:
            found[f'GRANT {_SERVICE} TO "{role}"'] = None
        for row in rows:
            if row not in of_members:
                to = _SERVICE if row["is_member"] and not row["service_has_it"] else f'"{role}"'
                found[f"GRANT {row['privilege']} TO {to}"] = None
    return list(found)
