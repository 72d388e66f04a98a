"""Thousands of random walks without a database, by the lifecycle table and the fence.

A world of workers that crash, sleep and answer late is walked by seed over the table of
`shared.domain.lifecycle`, with a clock of its own. Only two rules are taken as given: a write
happens where the state is among the sources of its event, and, except for claim and cancel, only
where it carries the newest attempt's number.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from shared.domain import job_events
from shared.domain.job_events import Event
from shared.domain.lifecycle import OPEN, TERMINAL, TRANSITIONS, JobState, next_state

SEEDS = 10_000
STEPS = 60
UNKNOWN_LIMIT = 900
DEADLINE = 1_800
LEASE = 10
_REPLIES: tuple[type[Event], ...] = (
    job_events.Submitted,
    job_events.Deferred,
    job_events.Rejected,
    job_events.OutcomeUnknown,
)
_VERDICTS: tuple[type[Event], ...] = (
    job_events.Progressed,
    job_events.HeldForReview,
    job_events.Completed,
    job_events.ProviderFailed,
)


@dataclass(slots=True)
class Attempt:
    """A paid POST: when it was sent, and whether Kie has said that it made nothing of it."""

    number: int
    sent_at: int
    made_nothing: bool = False
    is_answered: bool = False


@dataclass(slots=True)
class RandomJob:
    """One job without a database."""

    random: Random
    is_fenced: bool = True
    now: int = 0
    state: JobState = JobState.QUEUED
    since: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    charges: int = 0
    releases: int = 0
    is_cancel_requested: bool = False
    paid_twice: bool = False
    path: list[str] = field(default_factory=list)

    def write(self, event: type[Event], attempt: int | None = None) -> bool:
        """Write as the guarded statements do; return whether a row came back."""
        if self.is_fenced and attempt is not None and attempt != len(self.attempts):
            return False
        target = next_state(self.state, event)
        if target is None:
            return False
        assert self.state in OPEN, f"{event.__name__} moved {self.state}: {self.path}"
        if target is not self.state:
            self.since = self.now
        self.state = target
        self.path.append(event.__name__)
        self.charges += event is job_events.Completed
        self.releases += target in TERMINAL and event is not job_events.Completed
        return True

    def claim(self) -> None:
        """A worker commits its intent and POSTs."""
        if self.write(job_events.Claimed):
            self.paid_twice |= any(not one.made_nothing for one in self.attempts)
            self.attempts.append(Attempt(len(self.attempts) + 1, self.now))

    def find_unfit(self) -> None:
        """A worker finds that the route in force cannot carry the job: it waits on."""
        self.write(job_events.RouteUnfit, len(self.attempts))

    def reply(self) -> None:
        """Kie answers some POST, in time or not; its worker writes the answer down."""
        waiting = [one for one in self.attempts if not one.is_answered]
        if not waiting:
            return
        attempt = self.random.choice(waiting)
        event = self.random.choice(_REPLIES)
        attempt.is_answered = True
        # An ambiguous answer proves nothing; a refusal proves that there is no task.
        attempt.made_nothing = event in {job_events.Deferred, job_events.Rejected}
        if event is job_events.Deferred and self.is_cancel_requested:
            event = job_events.CancelledOnDeferral
        self.write(event, attempt.number)

    def repeat(self) -> None:
        """A worker that was suspended writes again what it knows about an older attempt."""
        if self.attempts:
            old = self.random.choice(self.attempts)
            if old.is_answered:
                nothing = (
                    job_events.CancelledOnDeferral
                    if self.is_cancel_requested
                    else job_events.Deferred
                )
                event = nothing if old.made_nothing else job_events.Submitted
                self.write(event, old.number)

    def crash(self) -> None:
        """The worker of an attempt dies: its answer never comes."""
        for attempt in self.attempts:
            attempt.is_answered = True

    def look_after(self) -> None:
        """What other workers do by the clock: leases, limits, deadlines."""
        newest = len(self.attempts)
        waited = self.now - self.since
        if self.state is JobState.SUBMITTING and waited >= LEASE:
            self.write(job_events.OutcomeUnknown, newest)
        elif self.state is JobState.UNKNOWN and waited >= UNKNOWN_LIMIT:
            self.write(job_events.SubmissionLost, newest)
        elif self.state is JobState.GENERATING and waited >= DEADLINE:
            self.write(job_events.DeadlineExceeded, newest)

    def poll(self) -> None:
        """Kie says something about the task."""
        self.write(self.random.choice(_VERDICTS), len(self.attempts))

    def cancel(self) -> None:
        """The caller takes the job back, or asks for that while it is at Kie."""
        if self.random.random() < 0.1 and not self.write(job_events.Cancelled):
            self.is_cancel_requested = self.state in OPEN

    def step(self) -> None:
        """Let some time pass and something happen."""
        self.now += self.random.choice((0, 1, 5, 20, 400))
        happen = (self.claim, self.reply, self.repeat, self.crash, self.look_after, self.poll)
        self.random.choice((*happen, self.cancel, self.find_unfit))()

    def check(self) -> None:
        """Fail unless money and POSTs are right now."""
        assert self.charges == (self.state is JobState.SUCCEEDED), self.path
        assert self.releases == (self.state in TERMINAL - {JobState.SUCCEEDED}), self.path
        assert not self.paid_twice, f"paid twice: {self.path}"


def after_random_walk(seed: int, *, is_fenced: bool = True, checked: bool = True) -> RandomJob:
    """Return a job of that seed after its last step."""
    job = RandomJob(Random(seed), is_fenced)
    for _ in range(STEPS):
        job.step()
        if checked:
            job.check()
    return job


def test_in_thousands_of_random_walks_nothing_is_paid_or_charged_twice() -> None:
    ends = Counter(after_random_walk(seed).state for seed in range(SEEDS))
    sys.stdout.write(f"seeds 0 to {SEEDS - 1}, {STEPS} steps each, ended: {dict(ends)}\n")
    assert set(ends) >= TERMINAL, f"these lives never saw {TERMINAL - set(ends)}"


def test_every_move_of_the_table_occurs_in_those_walks() -> None:
    made = {name for seed in range(SEEDS) for name in after_random_walk(seed).path}
    assert made == {row.event.__name__ for row in TRANSITIONS}


def test_without_the_fence_some_walk_pays_twice() -> None:
    lives = (after_random_walk(seed, is_fenced=False, checked=False) for seed in range(SEEDS))
    assert any(job.paid_twice for job in lives)


@pytest.mark.parametrize("seed", range(0, SEEDS, 100))
def test_every_walk_ends_by_time_alone(seed: int) -> None:
    job = after_random_walk(seed)
    job.crash()  # no worker that knows anything is left
    for _ in range(5):
        job.now += DEADLINE
        job.claim()
        job.look_after()
        job.check()
    assert job.state in TERMINAL, job.path
