"""One thing that is wrong with a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where it is, and a sentence saying what is allowed."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


FAULTS_MAX = 1_000
"""How many faults a refusal lists: one for each job of a batch."""


def cap_faults(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return the faults that a refusal lists; the last one counts those that it leaves out."""
    more = len(faults) - FAULTS_MAX
    shown = tuple(faults[:FAULTS_MAX])
    return (*shown, Fault("", f"and {more:,} more")) if more > 0 else shown
