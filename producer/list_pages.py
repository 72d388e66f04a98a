"""Pages of lists, which are limited in rows and in bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.domain.job import Job
from shared.errors import Fault, InvalidRequest

DEFAULT_LIST_LIMIT = 50
MAX_LIST_LIMIT = 1_000
WAITING_LIMIT, MAX_WAITING_LIMIT = 20, 200
"""The accounts that a list of who waits has, by default and at most."""
MAX_ROW_ID = 2**63 - 1
"""The largest `bigint`, which is above the id of every row."""
PAGE_BYTES = 2 * 1024 * 1024
"""The most bytes of row texts on one page. A page has at least one row, whatever its length."""
ESTIMATE = "estimate"
"""In `without`: the fields of `shared.domain.job.ESTIMATED` are not wanted."""
_PAGING_COLUMNS = frozenset({"place", "found", "bytes_so_far"})
"""The columns that a list query adds to each row for paging."""


def find_limit_faults(limit: int) -> list[Fault]:
    """Return a fault if `limit` is not a number of rows that a list may return."""
    if isinstance(limit, int) and 1 <= limit <= MAX_LIST_LIMIT:
        return []
    return [Fault("limit", f"{limit!r:.40} must be 1 to {MAX_LIST_LIMIT}")]


def require_limit(limit: int) -> None:
    """Raise `InvalidRequest` for a limit that is not allowed."""
    faults = find_limit_faults(limit)
    if faults:
        raise InvalidRequest(faults)


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list of jobs, newest first."""

    jobs: list[Job]
    """The jobs of the page. Jobs that this version cannot read are left out."""
    next_below: UUID | None
    """The next page has the jobs below this id. None on the last page."""


@dataclass(frozen=True, slots=True)
class RowPage:
    """One page of a list of rows with numeric ids, newest first."""

    entries: list[dict[str, Any]]
    next_below: int | None
    """The next page has the rows below this id. None on the last page."""

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> RowPage:
        """Return the page of the rows that a list query returned, without the paging columns."""
        has_more = bool(rows) and rows[-1]["place"] < rows[-1]["found"]
        entries = [{name: row[name] for name in row if name not in _PAGING_COLUMNS} for row in rows]
        return cls(entries, rows[-1]["id"] if has_more else None)


async def read_all_pages(
    read: Callable[[int | None, int], Awaitable[RowPage]], below: int | None, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` rows from as many pages as needed.

    `read` returns one page. Its arguments are the id to begin below and the number of rows.
    """
    entries: list[dict[str, Any]] = []
    while len(entries) < limit:
        page = await read(below, limit - len(entries))
        entries += page.entries
        below = page.next_below
        if below is None:
            break
    return entries
