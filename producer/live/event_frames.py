"""Stored events, their JSON, and their frames as Server-Sent Events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from producer.jobs.unknown_resolution import RESOLVED_EVENT
from producer.live.positions import Position
from shared.domain.late_results import IMAGES_DUE_AT, IMAGES_OVERDUE, IMAGES_STORED
from shared.domain.lifecycle import TERMINAL, TRANSITIONS, JobState, event_name
from shared.stored_json import read_stored_object

RETRY_FRAME = b"retry: 2000\n\n"
"""Sets the time, in milliseconds, that a client waits before it connects again."""
HEARTBEAT_FRAME = b":\n\n"

_STATE_AFTER: dict[str, JobState] = {
    "enqueued": JobState.QUEUED,
    **{event_name(one.event): one.target for one in TRANSITIONS},
}
_STATE_AFTER_RESOLUTION = {
    "submitted": JobState.GENERATING,
    "lost": JobState.FAILED,
    "delivered": JobState.SUCCEEDED,
    "undelivered": JobState.FAILED,
}
CANCEL_REQUESTED_EVENT = "cancel_requested"
"""The cancel of a job at Kie was requested. It stays in its state, which the event has."""
_PRIVATE_DETAILS = frozenset({"worker", "by", "provider_credits"})
"""Details about machines, operators and costs. Only `jobs show` prints them."""
END_EVENTS = frozenset(name for name, state in _STATE_AFTER.items() if state in TERMINAL) | {
    IMAGES_STORED,
    IMAGES_OVERDUE,
}
"""The names of the events after which a stream of a job ends."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of `job_events`, with the state of its job."""

    id: int
    tx: int
    """The transaction that wrote it; 0 for rows older than this column."""
    job_id: UUID
    account_id: str
    at: datetime
    event: str
    detail: Mapping[str, Any]
    job_state: str
    """The state of the job when the event was read."""

    @property
    def is_end(self) -> bool:
        """Whether a stream of the job ends with this event.

        A success whose images are being copied is followed by the event that announces it.
        """
        return self.event in END_EVENTS and IMAGES_DUE_AT not in self.detail

    @property
    def state(self) -> str:
        """The state of the job after the event."""
        if self.event == RESOLVED_EVENT:
            return _STATE_AFTER_RESOLUTION.get(str(self.detail.get("verdict")), self.job_state)
        if self.event == CANCEL_REQUESTED_EVENT:
            return str(self.detail.get("state", self.job_state))
        # `delivered_late` follows the end, as may events of a newer version.
        return _STATE_AFTER.get(self.event, self.job_state)


def event_from_row(row: asyncpg.Record) -> StoredEvent:
    """Return the event of a row of any query in `sql/queries/events.sql`."""
    return StoredEvent(
        id=row["id"],
        tx=int(row["tx"]),
        job_id=UUID(int=row["job_id"].int),
        account_id=row["account_id"],
        at=row["at"],
        event=row["event"],
        detail=read_stored_object(row["detail"]),
        job_state=row["state"],
    )


def event_to_json(event: StoredEvent) -> dict[str, Any]:
    """Return the event as listeners receive it. A repeated event has the same `id`."""
    return {
        "id": event.id,
        "job_id": event.job_id,
        "account_id": event.account_id,
        "at": event.at,
        "event": event.event,
        "state": event.state,
        "detail": {
            name: value for name, value in event.detail.items() if name not in _PRIVATE_DETAILS
        },
    }


def frame_of(event: StoredEvent, position: Position | int) -> bytes:
    """Return the event as a frame. A client sends `position` back to resume after the event."""
    name = " ".join(event.event.split())  # one line, even if the stored name has a line break
    data = orjson.dumps(event_to_json(event), option=orjson.OPT_UTC_Z)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(position).encode(), name.encode(), data)


def position_frame(position: Position) -> bytes:
    """Return a frame with a position and no event. Clients do not show it."""
    return b":\nid: %b\n\n" % str(position).encode()
