"""Named queries without a database: one records the calls, one fails until it is told not to."""

from __future__ import annotations

from typing import Any

from shared.errors import PostgresDown


class RecordedQueries:
    """`Queries` that records each call and returns no rows."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Record the call."""
        self.calls.append((query, *args))
        return []

    async def fetch_row(self, query: str, *args: Any) -> None:
        """Record the call."""
        await self.fetch(query, *args)


class FailingQueries(RecordedQueries):
    """`Queries` of a Postgres that is down."""

    error_type = PostgresDown

    def __init__(self) -> None:
        super().__init__()
        self.is_down = True

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Record the call, or raise."""
        if self.is_down:
            raise PostgresDown("Postgres does not answer")
        return await super().fetch(query, *args)
