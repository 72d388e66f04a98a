"""A page of a list: as many rows as were asked for, and no more than fit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.domain.job import Job
from shared.errors import Fault

DEFAULT_LIST_LIMIT = 50
MAX_LIST_LIMIT = 1_000
MAX_ROW_ID = 2**63 - 1
"""The largest `bigint`, which is above the id of every row."""
PAGE_BYTES = 2 * 1024 * 1024
"""How much of the texts of rows one page has; one row is on it, however long."""
_PAGING_COLUMNS = frozenset({"place", "found", "bytes_so_far"})
"""The columns that say how much of the page a row takes, beside what the row is about."""


def find_limit_faults(limit: int) -> list[Fault]:
    """Return a fault if `limit` is not a number of rows that a list may return."""
    if 1 <= limit <= MAX_LIST_LIMIT:
        return []
    return [Fault("limit", f"{limit} must be 1 to {MAX_LIST_LIMIT}")]


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs of a list, newest first."""

    jobs: list[Job]
    """Without those that this version cannot read."""
    next_below: UUID | None
    """The next page has jobs below this id; None: this was the last."""


@dataclass(frozen=True, slots=True)
class RowPage:
    """Some rows of a list whose ids are numbers, newest first."""

    entries: list[dict[str, Any]]
    next_below: int | None
    """The next page has rows below this id; None: this was the last."""

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> RowPage:
        """Return the page that these rows of a statement are, each with its place."""
        has_more = bool(rows) and rows[-1]["place"] < rows[-1]["found"]
        entries = [{name: row[name] for name in row if name not in _PAGING_COLUMNS} for row in rows]
        return cls(entries, rows[-1]["id"] if has_more else None)


async def read_all_pages(
    read: Callable[[int | None, int], Awaitable[RowPage]], below: int | None, limit: int
) -> list[dict[str, Any]]:
    """Read pages until there are enough rows; `read` takes where to begin and how many."""
    entries: list[dict[str, Any]] = []
    while len(entries) < limit:
        page = await read(below, limit - len(entries))
        entries += page.entries
        below = page.next_below
        if below is None:
            break
    return entries
