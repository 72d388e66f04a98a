"""The news of changed jobs, as they travel over Redis: which jobs, and whether they have ended.

A message is a hint and no more. Whoever hears it reads the truth from Postgres, and whoever does
not hear it finds out by looking.
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
    """Whether that event is the end of the job."""


def encode_changes(changes: Iterable[Change]) -> str:
    """Write changes as one message: job ids between blanks, those that ended after a `!`."""
    return " ".join(
        f"{_ENDED}{change.job_id}" if change.has_ended else str(change.job_id) for change in changes
    )


def decode_changes(message: str) -> list[Change]:
    """Read what `encode_changes` wrote. Raises `ValueError` where it is anything else."""
    return [
        Change(UUID(word.removeprefix(_ENDED)), word.startswith(_ENDED)) for word in message.split()
    ]
