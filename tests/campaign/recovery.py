"""Measures how soon jobs move again after a kill, and the longest stall of any job. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.campaign.evidence import Evidence, JobRow
from tests.campaign.keeper import Death
from tests.campaign.leases import Orphan

# A poll that the dead worker had sent may arrive, and its last statement commit, after its death.
_LAST_WORDS_SECONDS = 0.5
_GIVEN_UP = "submission_lost"


@dataclass(frozen=True, slots=True)
class Moved:
    """A job that a killed worker had in its hands, and how long nothing happened to it."""

    seconds: float
    job: str
    doing: str
    """`submitting` or `polling`."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which nothing happened to an open job: no event, no poll."""

    seconds: float
    from_epoch: float
    job: str
    state: str


def moments_of(evidence: Evidence, job: JobRow) -> list[float]:
    """Return every moment (epoch) at which something happened to a job, in order."""
    events = [at for at, _ in evidence.tables.events.get(job.id, ())]
    polls = evidence.record.polls.get(job.task_id or "", ())
    end = max(events, default=job.created_epoch)
    return sorted({job.created_epoch, *events, *(at for at in polls if at <= end)})


def moved_again(
    evidence: Evidence, deaths: Sequence[Death], orphans: Sequence[Orphan]
) -> list[Moved]:
    """Return what became of every job in the hands of a worker that died."""
    jobs = {job.id: job for job in evidence.tables.jobs}
    found = list(_submits(evidence, deaths))
    for orphan in orphans:
        job = jobs.get(orphan.job_id)
        if job is not None:
            after = orphan.killed_at_epoch + _LAST_WORDS_SECONDS
            moments = [at for at in moments_of(evidence, job) if at > after]
            if moments:
                found.append(Moved(moments[0] - orphan.killed_at_epoch, job.key, "polling"))
    return found


def _submits(evidence: Evidence, deaths: Sequence[Death]) -> Iterator[Moved]:
    """Yield the jobs whose paid POST was begun and not settled when their worker died."""
    jobs = {job.id: job for job in evidence.tables.jobs}
    deaths_of: defaultdict[str, list[float]] = defaultdict(list)
    for death in deaths:
        deaths_of[str(death.pid)].append(death.at_epoch)
    for attempt in evidence.tables.attempts:
        for died_at in deaths_of[attempt.worker.rpartition(":")[2]]:
            was_open = attempt.answered_epoch is None or attempt.answered_epoch > died_at
            if attempt.sent_epoch <= died_at and was_open:
                after = [at for at, _ in evidence.tables.events[attempt.job_id] if at > died_at]
                if after:
                    key = jobs[attempt.job_id].key
                    yield Moved(after[0] - died_at, key, "submitting")


def longest_stalls(evidence: Evidence, most: int) -> list[Stall]:
    """Return the longest stalls of jobs that were not given up, longest first."""
    stalls = [
        stall
        for job in evidence.tables.jobs
        if job.reason != _GIVEN_UP
        for stall in _stalls(evidence, job)
    ]
    return sorted(stalls, key=lambda stall: -stall.seconds)[:most]


def _stalls(evidence: Evidence, job: JobRow) -> Iterator[Stall]:
    events = evidence.tables.events.get(job.id, ())
    for before, after in pairwise(moments_of(evidence, job)):
        last = [name for at, name in events if at <= before][-1:]
        yield Stall(after - before, before, job.key, last[0] if last else "enqueued")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of them does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
