"""Messages over Redis that name changed jobs, and say whether they have ended.

A message is only a hint. Receivers read the job from Postgres, and also find changes without
messages by polling.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

_ENDED = "!"


@dataclass(frozen=True, slots=True)
class Change:
    """A job has a new event in `job_events`."""

    job_id: UUID
    has_ended: bool = False
    """Whether waits for the job end: the event ended it, or requested its cancel."""


def encode_changes(changes: Iterable[Change]) -> str:
    """Encode changes as one message: job ids separated by spaces, with `!` before ended jobs."""
    return " ".join(
        f"{_ENDED}{change.job_id}" if change.has_ended else str(change.job_id) for change in changes
    )


def decode_changes(message: str) -> list[Change]:
    """Decode a message of `encode_changes`. Raises `ValueError` for other messages."""
    return [
        Change(UUID(word.removeprefix(_ENDED)), word.startswith(_ENDED)) for word in message.split()
    ]
