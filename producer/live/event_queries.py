"""Reads events from Postgres: new ones, those of one job, and past ones of one account."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from uuid import UUID

from producer.live.event_frames import END_EVENTS, StoredEvent, event_from_row
from producer.live.positions import Position, Snapshot
from shared.adapters.postgres.database import Queries
from shared.errors import JobNotFound

PAGE_LENGTH = 500
"""The events of one job that one query returns."""
RANGE_LENGTH = 2_000
"""The events of all accounts that one query scans to find those of one account."""
RANGE_BYTES = 512 * 1024
"""The most text that one query returns. It stays in memory until the listener receives it."""
NAMED_JOBS_MAX = 100
"""With more jobs, reading the events of all jobs is faster than passing the ids to each query."""


@dataclass(frozen=True, slots=True)
class NewEvents:
    """The events that one read found, and its snapshot."""

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
        """Whether these were the last events of the job when they were read."""
        return len(self.events) < PAGE_LENGTH


@dataclass(frozen=True, slots=True)
class EventRange:
    """A range of the events of all accounts, and the events of one account in it."""

    end: Position
    """The position up to which the range goes."""
    events: list[StoredEvent]
    """In the order of their ids."""


async def read_snapshot_now(queries: Queries) -> Snapshot:
    """Return the current snapshot of the database. Raises `PostgresDown`."""
    (row,) = await queries.fetch("snapshot_now")
    return Snapshot.parse(row["snapshot"])


async def read_new_events(
    queries: Queries, last: Snapshot, job_ids: Sequence[UUID], account_ids: Sequence[str]
) -> NewEvents:
    """Return the events of these jobs and accounts that are not in the snapshot `last`.

    With more than `NAMED_JOBS_MAX` jobs, events of other jobs may be among them. Raises
    `PostgresDown`.
    """
    named = job_ids if len(job_ids) <= NAMED_JOBS_MAX else None
    rows = await queries.fetch("new_events", last.text, named, account_ids)
    found = [event_from_row(row) for row in rows if row["id"] is not None]
    return NewEvents(Snapshot.parse(rows[0]["snapshot"]), found)


async def read_job(queries: Queries, job_id: UUID, above: int) -> JobEvents:
    """Return the next events of a job after the id `above`.

    Raises `JobNotFound` and `PostgresDown`.
    """
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
    """Yield the events from `start` that are in `until` and not in `already_shown`, in ranges.

    Each range is one short query. Raises `PostgresDown`.
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
        # Beyond the safe position, an older transaction may still commit.
        yield EventRange(until.safe_position if is_last else min(start, until.safe_position), found)
        if is_last:
            return
