"""The faults of a request: each names a field and says what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FAULTS_MAX = 1_000
"""The maximum number of faults in one `InvalidRequest`: one for each job of a batch."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request: the path of the field, and a sentence that says what is allowed."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def cap_faults(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return at most `FAULTS_MAX` faults, and one more that counts the rest."""
    more = len(faults) - FAULTS_MAX
    shown = tuple(faults[:FAULTS_MAX])
    return (*shown, Fault("", f"and {more:,} more")) if more > 0 else shown
