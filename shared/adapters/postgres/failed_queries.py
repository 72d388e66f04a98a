"""Records which queries a reachable Postgres could not run recently."""

from __future__ import annotations

from collections.abc import Callable

from shared.adapters.postgres import sqlstates
from shared.adapters.postgres.named_queries import is_write
from shared.errors import PostgresDown

FAILED_QUERY_SECONDS = 30.0
"""Failures expire, because a process that is not ready may get no further requests."""


class FailedQueries:
    """The queries of one pool whose last run failed because of the server.

    A failure counts until the same query succeeds, or until any write succeeds. A failure that may
    concern one table counts until the same query succeeds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._errors: dict[str, tuple[PostgresDown, float]] = {}

    def record_failure(self, query: str, error: PostgresDown) -> None:
        """Record that the query failed."""
        # Locks and faults of single rows say nothing about the server.
        if error.sqlstate is not None and not sqlstates.may_concern_one_row(error.sqlstate):
            self._errors.pop(query, None)
            self._errors[query] = (error, self._monotonic())

    def record_success(self, query: str) -> None:
        """Record that the query succeeded."""
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
        """Return the error of the newest failure, or None."""
        for error, failed_at in reversed(self._errors.values()):
            if self._monotonic() - failed_at < FAILED_QUERY_SECONDS:
                return PostgresDown(str(error), sqlstate=error.sqlstate)
        return None
