"""The table of webhook messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from producer.cli.display.console import build_table
from producer.cli.display.text_format import NO_VALUE, printable, shortened, time_text

_STYLES = {"pending": "yellow", "delivered": "green", "dead": "red"}


def build_webhooks_table(rows: Sequence[Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Return a table with a row for each message."""
    table = build_table(
        *("id", "account", "event", "state", "tries", "ended", "next try", "endpoint", "error"),
        right=("tries",),
        drop=("next try", "ended", "account", "tries", "endpoint", "event"),
        sentences=("endpoint", "error"),
        title=title,
    )
    for row in rows:
        next_try = row["next_try_at"] if row["state"] == "pending" else None
        table.add_row(
            row["id"],
            printable(row["account_id"]),
            row["event"],
            Text(row["state"], style=_STYLES[row["state"]]),
            str(row["tries"]),
            time_text(row["created_at"]),
            time_text(next_try),
            printable(row["endpoint"]),
            shortened(row["last_error"] or NO_VALUE, 120),
        )
    return table
