"""Rows as dictionaries, without loading the driver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg


def as_dicts(rows: Iterable[asyncpg.Record]) -> list[dict[str, Any]]:
    """Return rows as dictionaries. Records of the driver are used in adapters only."""
    return [dict(row) for row in rows]
