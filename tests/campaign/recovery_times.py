"""Measures how soon jobs continue after a kill, and the longest stall of any job. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.campaign.campaign_evidence import Evidence, JobRow
from tests.campaign.lease_watch import Orphan
from tests.campaign.outage_watch import OutageInterval, overlap_seconds
from tests.support.restarted_process import Death

# A poll that the dead worker had sent may arrive, and its last statement commit, after its death.
_LAST_WORDS_SECONDS = 0.5
_ONE_DEATH_SECONDS = 0.5
_CLAIMED, _GIVEN_UP = "claimed", "submission_lost"


@dataclass(frozen=True, slots=True)
class Moved:
    """A job that a killed worker was working on, and the time until its next event."""

    seconds: float
    """Seconds since the death of the last worker that had it."""
    since_first_seconds: float
    """Seconds since the first death, if several workers that had it died in a row."""
    deaths: int
    from_epoch: float
    job: str
    doing: str
    """`submitting` or `polling`."""
    unmanned_seconds: float
    """For how many of these seconds no worker was running."""
    outage_seconds: float
    """For how many of these seconds Valkey or Postgres was down."""


@dataclass(frozen=True, slots=True)
class _Loss:
    killed_epoch: float
    moved_epoch: float
    job: str
    doing: str


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which an open job had no event and no poll."""

    seconds: float
    from_epoch: float
    job: str
    state: str


def moments_of(evidence: Evidence, job: JobRow) -> list[float]:
    """Return the times (epoch) of a job's events and polls, in order."""
    events = [at for at, _ in evidence.tables.events.get(job.id, ())]
    polls = evidence.record.polls.get(job.task_id or "", ())
    end = max(events, default=job.created_epoch)
    return sorted({job.created_epoch, *events, *(at for at in polls if at <= end)})


def recovered(
    evidence: Evidence,
    deaths: Sequence[Death],
    orphans: Sequence[Orphan],
    lives: Sequence[tuple[float, float]],
    outages: Sequence[OutageInterval],
) -> list[Moved]:
    """Return the recovery of every job that a killed worker was working on.

    `lives` are the times (epoch) in which some worker was up.
    """
    losses: defaultdict[tuple[str, float], list[_Loss]] = defaultdict(list)
    for loss in (*_submits(evidence, deaths), *_deliveries(evidence, orphans)):
        losses[loss.job, loss.moved_epoch].append(loss)
    found = []
    for (job, moved_epoch), same in losses.items():
        killed = sorted(loss.killed_epoch for loss in same)
        found.append(
            Moved(
                seconds=moved_epoch - killed[-1],
                since_first_seconds=moved_epoch - killed[0],
                deaths=1 + sum(later - at > _ONE_DEATH_SECONDS for at, later in pairwise(killed)),
                from_epoch=killed[-1],
                job=job,
                doing=same[-1].doing,
                unmanned_seconds=_seconds_without_worker(killed[-1], moved_epoch, lives),
                outage_seconds=overlap_seconds(killed[-1], moved_epoch, outages),
            )
        )
    return found


def _seconds_without_worker(
    start: float, end: float, lives: Sequence[tuple[float, float]]
) -> float:
    """Return for how many seconds between two times no worker was running."""
    without_worker, reached = 0.0, start
    for up_at, down_at in sorted(lives):
        if down_at <= reached or up_at >= end:
            continue
        without_worker += max(0.0, up_at - reached)
        reached = down_at
    return without_worker + max(0.0, end - reached)


def _deliveries(evidence: Evidence, orphans: Sequence[Orphan]) -> Iterator[_Loss]:
    """Yield the jobs whose delivery a worker had when it died."""
    jobs = {job.id: job for job in evidence.tables.jobs}
    for orphan in orphans:
        job, killed = jobs[orphan.job_id], orphan.killed_at_epoch
        moments = moments_of(evidence, job)
        after = next((at for at in moments if at > killed + _LAST_WORDS_SECONDS), None)
        if after is not None:
            yield _Loss(killed, after, job.key, orphan.doing)


def _submits(evidence: Evidence, deaths: Sequence[Death]) -> Iterator[_Loss]:
    """Yield the jobs whose paid POST was sent and not recorded when their worker died."""
    jobs = {job.id: job for job in evidence.tables.jobs}
    deaths_of: defaultdict[str, list[float]] = defaultdict(list)
    for death in deaths:
        deaths_of[str(death.pid)].append(death.at_epoch)
    for attempt in evidence.tables.attempts:
        for killed in deaths_of[attempt.worker.rpartition(":")[2]]:
            events = evidence.tables.events[attempt.job_id]
            after = next((at for at, _ in events if at > killed), None)
            # A stored outcome, also an unknown one, means that no worker had the job any more.
            newest = [event for at, event in events if at <= killed][-1:]
            is_open = attempt.sent_epoch <= killed and newest == [_CLAIMED]
            if is_open and after is not None:
                yield _Loss(killed, after, jobs[attempt.job_id].key, "submitting")


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
