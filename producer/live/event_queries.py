"""Reads events from Postgres: what is new since a look, and what came before a listener did."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from uuid import UUID

from producer.live.event_frames import END_EVENTS, StoredEvent, event_from_row
from producer.live.positions import Position, Snapshot
from shared.adapters.postgres.database import Queries
from shared.errors import JobNotFound

PAGE_LENGTH = 500
"""The events of one job that are read at once."""
RANGE_LENGTH = 2_000
"""The events of all accounts that are gone through at once, to find those of one."""
RANGE_BYTES = 512 * 1024
"""As much of their texts, which lies here until the listener has taken it."""
NAMED_JOBS_MAX = 100
"""Above this, reading some events too many costs less than naming the jobs at every look."""


@dataclass(frozen=True, slots=True)
class NewEvents:
    """What one look found, and the moment that it saw."""

    snapshot: Snapshot
    events: list[StoredEvent]
    """In the order of their ids."""


@dataclass(frozen=True, slots=True)
class JobEvents:
    """Some of a job's events, oldest first."""

    newest_id: int
    """The highest id of all events of the job."""
    end_id: int | None
    """The id of the event that ended it, if it has ended."""
    events: list[StoredEvent]

    @property
    def is_last(self) -> bool:
        """Whether there were no more when it was read."""
        return len(self.events) < PAGE_LENGTH


@dataclass(frozen=True, slots=True)
class EventRange:
    """A stretch of the events of all accounts, and those of one account in it."""

    end: Position
    """How far it went."""
    is_last: bool
    """Whether there were no more."""
    events: list[StoredEvent]
    """In the order of their ids."""


async def read_snapshot_now(queries: Queries) -> Snapshot:
    """Return this moment of the database. Raises `PostgresDown`."""
    (row,) = await queries.fetch("snapshot_now")
    return Snapshot.parse(row["snapshot"])


async def read_new_events(
    queries: Queries, last: Snapshot, job_ids: Sequence[UUID], account_ids: Sequence[str]
) -> NewEvents:
    """Return exactly the events of these jobs and accounts that `last` did not show yet.

    With many jobs there may be events of others among them. Raises `PostgresDown`.
    """
    named = job_ids if len(job_ids) <= NAMED_JOBS_MAX else None
    rows = await queries.fetch("new_events", last.text, named, account_ids)
    found = [event_from_row(row) for row in rows if row["id"] is not None]
    return NewEvents(Snapshot.parse(rows[0]["snapshot"]), found)


async def read_job(queries: Queries, job_id: UUID, above: int) -> JobEvents:
    """Return the next page of a job's events. Raises `JobNotFound` and `PostgresDown`."""
    rows = await queries.fetch("job_events_after", job_id, above, PAGE_LENGTH, sorted(END_EVENTS))
    if not rows:
        raise JobNotFound(str(job_id))
    found = [event_from_row(row) for row in rows if row["id"] is not None]
    return JobEvents(rows[0]["newest_id"] or 0, rows[0]["end_id"], found)


async def read_ranges(
    queries: Queries,
    account_id: str,
    start: Position,
    until: Snapshot,
    already_shown: Snapshot | None,
) -> AsyncGenerator[EventRange]:
    """Yield what `until` shows and `already_shown` did not, from `start` on, in ranges.

    Each stretch is a short statement, however long the way is. Raises `PostgresDown`.
    """
    without = already_shown.text if already_shown is not None else None
    while True:
        rows = await queries.fetch(
            "account_events_after",
            account_id,
            str(start.tx),
            start.id,
            until.text,
            without,
            RANGE_LENGTH,
            RANGE_BYTES,
        )
        found = [event_from_row(row) for row in rows if row["id"] is not None]
        is_last = not rows or rows[0]["passed"] == rows[0]["found"] < RANGE_LENGTH
        if not is_last:
            start = Position(int(rows[0]["last_tx"]), rows[0]["last_id"])
        # Where younger transactions than the edge were gone through, older ones may still come.
        yield EventRange(
            until.safe_position if is_last else min(start, until.safe_position), is_last, found
        )
        if is_last:
            return
