"""Audit entries as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from producer.cli.display.console import plain_table
from producer.cli.display.text_format import NOTHING, moment_text, printable, shortened

Row = Mapping[str, Any]


def audit_table(rows: Sequence[Row], title: str | None = None) -> Table:
    """Return a line for each entry."""
    table = plain_table(
        *("id", "at", "who", "from", "did", "to", "change", "reason"), right=("id",), title=title
    )
    for row in rows:
        table.add_row(
            str(row["id"]),
            moment_text(row["at"]),
            printable(_who(row)),
            printable(row["origin"] or row["client_address"] or NOTHING),
            row["act"].replace("_", " "),
            printable(row["subject"]),
            shortened(_change(row), 200),
            shortened(row["reason"] or NOTHING, 120),
        )
    return table


def _who(row: Row) -> str:
    """Return the actor, with the login of the database where that is another name."""
    key = f" ({row['key_role']} key)" if row["key_role"] else ""
    login = f" as {row['database_role']}" if row["actor"] != row["database_role"] else ""
    stated = row["os_user"]
    user = f", user {stated}" if stated and stated != row["actor"] else ""
    return f"{row['actor']}{key}{login}{user}"


def _change(row: Row) -> str:
    before, after = row["before"] or {}, row["after"] or {}
    parts = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new or (old is None and new is None):
            continue
        label = name.replace("_", " ")
        parts.append(f"{label} {new}" if old is None else f"{label} {old} → {_or_none(new)}")
    return ", ".join(parts) or NOTHING


def _or_none(value: object) -> object:
    return NOTHING if value is None else value
