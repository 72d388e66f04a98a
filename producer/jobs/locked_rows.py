"""Names the locked row in a `RowBusy` error. Postgres reports a lock, but not the row."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from shared.errors import RowBusy

_MAX_NAMED = 3


@contextmanager
def name_locked_row(what: str) -> Iterator[None]:
    """Replace a `RowBusy` from the block by one that names `what`, the row of the statement."""
    try:
        yield
    except RowBusy as busy:
        raise RowBusy(what, wait_seconds=busy.wait_seconds, sqlstate=busy.sqlstate) from busy


def describe_accounts(account_ids: Collection[str]) -> str:
    """Return a text that names the rows of these accounts, or of the first few."""
    names = [repr(account_id) for account_id in sorted(set(account_ids))]
    if len(names) == 1:
        return f"account {names[0]}"
    left = len(names) - _MAX_NAMED
    more = f" and {left} more" if left > 0 else ""
    return f"one of the accounts {', '.join(names[:_MAX_NAMED])}{more}"


def describe_job_rows(job_id: object, account_id: str) -> str:
    """Return a text that names the rows that the end of a job changes."""
    return f"job {job_id} or its account {account_id!r}"
