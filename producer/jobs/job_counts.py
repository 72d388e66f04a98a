"""Counts of jobs by state and reason, and their JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.lifecycle import JobState


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs are in one state for one reason."""

    state: JobState
    reason: str | None
    """A code of `Reason`. None for jobs without a reason."""
    jobs: int


def sort_counts(counts: Sequence[JobCount]) -> list[JobCount]:
    """Return the counts in the order of the states, and the largest of each state first."""
    order = list(JobState)
    return sorted(counts, key=lambda one: (order.index(one.state), -one.jobs, one.reason or ""))


def counts_to_json(counts: Sequence[JobCount]) -> dict[str, Any]:
    """Return the object of the HTTP API: the sum, and the counts."""
    return {
        "jobs": sum(one.jobs for one in counts),
        "counts": [
            {"state": one.state.value, "reason": one.reason, "jobs": one.jobs} for one in counts
        ],
    }
