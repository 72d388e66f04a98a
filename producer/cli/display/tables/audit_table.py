"""The table of audit entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from producer.cli.display.console import build_table
from producer.cli.display.text_format import NO_VALUE, printable, shortened, time_text

Row = Mapping[str, Any]


def build_audit_table(rows: Sequence[Row], title: str | None = None) -> Table:
    """Return a table with a row for each entry."""
    table = build_table(
        *("id", "at", "who", "from", "did", "to", "change", "reason"),
        right=("id",),
        drop=("from", "id", "reason", "at"),
        sentences=("to", "change", "reason"),
        title=title,
    )
    for row in rows:
        table.add_row(
            str(row["id"]),
            time_text(row["at"]),
            printable(_who(row)),
            printable(row["origin"] or row["client_address"] or NO_VALUE),
            row["act"].replace("_", " "),
            printable(row["subject"]),
            shortened(_change(row), 200),
            shortened(row["reason"] or NO_VALUE, 120),
        )
    return table


def _who(row: Row) -> str:
    """Return the actor, with the database login if it differs."""
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
        parts.append(f"{label} {new}" if old is None else f"{label} {old} → {_value_text(new)}")
    return ", ".join(parts) or NO_VALUE


def _value_text(value: object) -> object:
    return NO_VALUE if value is None else value
