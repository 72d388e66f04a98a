"""Remembers which queries a Postgres that answers could not run, for as long as that matters."""

from __future__ import annotations

from collections.abc import Callable

from shared.adapters.postgres import sqlstates
from shared.adapters.postgres.named_queries import is_write
from shared.errors import PostgresDown

FAILED_QUERY_SECONDS = 30.0
"""Whoever is told that a process is not ready may ask nothing of it any more: then it may be."""


class FailedQueries:
    """The queries of one pool that the server could not run when they were last asked for.

    What the server could not do counts until it does that or writes something else. What it may
    not do to one table counts until it does just that.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._errors: dict[str, tuple[PostgresDown, float]] = {}

    def record_failure(self, query: str, error: PostgresDown) -> None:
        """Note that the query could not be run."""
        # What another session holds for a while, or one row causes, says nothing of the server.
        if error.sqlstate is not None and not sqlstates.may_concern_one_row(error.sqlstate):
            self._errors.pop(query, None)
            self._errors[query] = (error, self._monotonic())

    def record_success(self, query: str) -> None:
        """Note that the query was run."""
        if not self._errors:
            return
        self._errors.pop(query, None)
        if is_write(query):
            self._errors = {
                name: (error, failed_at)
                for name, (error, failed_at) in self._errors.items()
                if sqlstates.may_concern_one_table(error.sqlstate or "")
            }

    def newest(self) -> PostgresDown | None:
        """Return why the newest of them was refused, or None where there is none."""
        for error, failed_at in reversed(self._errors.values()):
            if self._monotonic() - failed_at < FAILED_QUERY_SECONDS:
                return PostgresDown(str(error), sqlstate=error.sqlstate)
        return None
