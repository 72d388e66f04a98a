"""Which jobs an act on many jobs is for: their ids, or a filter and a cursor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from producer.jobs.job_filter import JobFilter
from shared.domain.lifecycle import OPEN, TERMINAL, JobState
from shared.errors import Fault, InvalidRequest, StateConflict

BulkAction = Literal["cancel", "retry"]

MAX_BULK_JOBS = 1_000
"""The most jobs that one call cancels or retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSelection:
    """The jobs that a call is for. Raises `InvalidRequest` with every fault.

    Give either `ids` or `where`. `where` must have a filter, so that a forgotten one does not mean
    every job.
    """

    ids: Sequence[UUID] = ()
    """Up to 1,000 ids, each once."""
    where: JobFilter | None = None
    account_id: str | None = None
    """Only jobs of this account: the ids of others are refused as not found."""
    limit: int = MAX_BULK_JOBS
    """The most jobs of `where` that one call is for. The newest are first."""
    below: UUID | None = None
    """Only jobs of `where` with ids below this one: `BulkResult.next_below` of the call before."""

    def __post_init__(self) -> None:
        faults = []
        if bool(self.ids) == (self.where is not None):
            faults.append(Fault("ids", "give either ids or where"))
        if self.where is not None and not self.where.to_texts():
            sentence = "has no filter; to mean every job, name the states: state=queued"
            faults.append(Fault("where", sentence))
        if len(self.ids) > MAX_BULK_JOBS:
            faults.append(Fault("ids", f"are {len(self.ids):,}; at most {MAX_BULK_JOBS:,} at once"))
        if not 1 <= self.limit <= MAX_BULK_JOBS:
            faults.append(Fault("limit", f"{self.limit} must be 1 to {MAX_BULK_JOBS:,}"))
        if faults:
            raise InvalidRequest(faults)
        object.__setattr__(self, "ids", tuple(dict.fromkeys(self.ids)))

    def narrow_filter(self, action: BulkAction, *, again: bool = False) -> JobFilter:
        """Return the filter of those jobs of `where` that the action can be done to.

        A cancel is for open jobs in the states of the filter, or else for queued ones. A retry is
        for ended jobs in the states of the filter, or else for failed ones, that were not retried.
        Raises `StateConflict` if the filter contradicts that.
        """
        where = self.where or JobFilter()
        if self.account_id is not None:
            where = replace(where, account_id=self.account_id)
        if action == "cancel":
            _require_states(where, OPEN, "only an open job can be cancelled")
            return replace(where, state=where.state or JobState.QUEUED)
        allowed = TERMINAL if again else TERMINAL - {JobState.SUCCEEDED}
        advice = "" if again else "; a success is retried only with again"
        _require_states(where, allowed, f"only an ended job is retried{advice}")
        if where.retried:
            sentence = "a job is retried once: list those that were, and retry their retries"
            raise StateConflict([Fault("where.retried", sentence)])
        return replace(where, state=where.state or JobState.FAILED, retried=False)


def _require_states(where: JobFilter, allowed: Collection[JobState], rule: str) -> None:
    stray = [state for state in where.state if state not in allowed]
    if stray:
        raise StateConflict([Fault("where.state", f"{', '.join(stray)}: {rule}")])
