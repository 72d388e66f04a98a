"""Positions in event streams, from which a listener resumes without missing an event. Pure.

The events of one job are committed in the order of their ids, so an id is a position there. The
events of several jobs are not: a transaction that began early may commit late. A position in an
account stream is therefore a pair (transaction, id). It moves past a transaction only when no
older transaction is open. While one is open, a resume repeats the events sent since.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from producer.list_pages import MAX_ROW_ID
from shared.errors import Fault, InvalidRequest

LAST_EVENT_ID = "Last-Event-ID"
_TX_MAX = 2**64 - 1
_POSITION = re.compile(r"([0-9]{1,20})\.([0-9]{1,19})", re.ASCII)
_ID = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A pair (transaction, id). All events up to it have been sent."""

    tx: int
    id: int

    def __str__(self) -> str:
        return f"{self.tx}.{self.id}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of the database: which transactions were committed."""

    text: str
    """The snapshot as Postgres writes it: `xmin:xmax:transactions in progress`."""
    xmin: int
    """All transactions below this one had ended."""
    xmax: int
    """No transaction from this one on had begun."""

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Return the snapshot that `text` describes."""
        xmin, xmax, _ = text.split(":")
        return cls(text, int(xmin), int(xmax))

    @property
    def safe_position(self) -> Position:
        """The last position before which no event can appear any more."""
        return Position(self.xmin, 0)


class HasPosition(Protocol):
    """An object with a transaction and an id."""

    @property
    def tx(self) -> int: ...

    @property
    def id(self) -> int: ...


def safe_positions(events: Sequence[HasPosition], start: Position, end: Position) -> list[Position]:
    """Return the position that is valid after each event has been sent.

    `events` are in the order of sending, and are all events between `start` and `end`. Everything
    up to `start` has been sent before. `end` is valid once all events up to it have been sent.
    """
    due = sorted(place for one in events if (place := Position(one.tx, one.id)) <= end)
    sent: set[int] = set()
    reached, passed = start, 0
    positions = []
    for one in events:
        sent.add(one.id)
        while passed < len(due) and due[passed].id in sent:
            reached = max(reached, due[passed])
            passed += 1
        if passed == len(due):
            reached = max(reached, end)
        positions.append(reached)
    return positions


def read_event_id(given: str | None) -> int:
    """Return the event id of a `Last-Event-ID` header, 0 without one; raises `InvalidRequest`."""
    if not given:
        return 0
    if not _ID.fullmatch(given) or int(given) > MAX_ROW_ID:
        raise _refused(given, "must be the id of an event of this job, a whole number")
    return int(given)


def read_position(given: str | None) -> Position | None:
    """Return the position of a `Last-Event-ID` header, if any; raises `InvalidRequest`."""
    if not given:
        return None
    match = _POSITION.fullmatch(given)
    position = Position(int(match[1]), int(match[2])) if match else None
    if position is None or position.tx > _TX_MAX or position.id > MAX_ROW_ID:
        raise _refused(
            given, "must be an id of the account's stream, like 760.12; 0.0 is the beginning"
        )
    return position


def refuse_event_ahead(event_id: int, newest_id: int) -> None:
    """Raise `InvalidRequest` for an id that no event of the job has had yet."""
    if event_id > newest_id:
        raise _refused(str(event_id), f"is ahead of this job, whose newest event is {newest_id}")


def refuse_position_ahead(position: Position, now: Snapshot) -> None:
    """Raise `InvalidRequest` for a position that this database has not reached."""
    if position.tx > now.xmax:
        raise _refused(
            str(position),
            f"is ahead of this database, which is at {now.safe_position}: another one gave it."
            f" Leave {LAST_EVENT_ID} out to receive events from now on, or send 0.0 for"
            " everything",
        )


def _refused(given: str, sentence: str) -> InvalidRequest:
    return InvalidRequest([Fault(LAST_EVENT_ID, f"{given[:80]!r} {sentence}")])
