"""The rules of the model test by which jobs are cancelled and retried, one or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from producer import InsufficientCredits, InvalidRequest, JobFilter, TooLateToCancel
from producer.bulk.job_selection import JobSelection
from tests.model.model_setup import OPERATOR, ModelSetup
from tests.model.reference import Reference, RefJob

PICKS = st.integers(0, 999)
_T = TypeVar("_T")


def pick_one(pick: int, among: Sequence[_T]) -> _T:
    """Return the element that a number picks, whatever the number."""
    return among[pick % len(among)]


class CancelsAndRetries(RuleBasedStateMachine):
    """What callers and operators do to jobs that exist."""

    setup: ModelSetup
    seen: Counter[str]
    ref: Reference

    @precondition(lambda self: self.ref.jobs)
    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        """The caller wants some job back, wherever it is, or for every other an operator does."""
        job, who = pick_one(pick, list(self.ref.jobs.values())), (None, OPERATOR)[pick % 2]
        try:
            found = self.setup.run(self.setup.producer.cancel(job.id, actor=who))
        except TooLateToCancel:
            assert job.has_ended
        else:
            assert not job.has_ended
            self.ref.cancelled(job, f"cancelled_by_{'operator' if who else 'caller'}")
            assert found.state == job.state
            self.seen[f"cancel, then {job.state}"] += 1

    @precondition(lambda self: self.ref.jobs)
    @rule(pick=PICKS, again=st.booleans())
    def retry(self, pick: int, again: bool) -> None:
        """The caller wants the same again, for the first time or once more."""
        first = pick_one(pick, list(self.ref.jobs.values()))
        try:
            job = self.setup.run(self.setup.producer.retry(first.id, again=again))
        except InvalidRequest:
            assert first.retry is None
            is_refused = not first.has_ended or (first.state == "succeeded" and not again)
            assert is_refused or not first.kind.is_carried(self.ref.route)
        except InsufficientCredits:
            assert first.retry is None
            assert not self.ref.has_room(first.account, [first.kind])
        else:
            assert job.retry_of == first.id
            self._retried(first, job.id)

    def _retried(self, first: RefJob, retry: UUID) -> None:
        """The first retry makes a job. Every later one returns it."""
        if first.retry is None:
            assert first.has_ended
            assert first.kind.is_carried(self.ref.route)
            self.ref.enqueued(retry, first.account, first.kind, None, first.priority)
            first.retry = retry
        else:
            self.seen["retried before"] += 1
        assert first.retry == retry

    @precondition(lambda self: self.ref.jobs)
    @rule(picks=st.lists(PICKS, min_size=1, max_size=4), is_by_filter=st.booleans())
    def cancel_many(self, picks: list[int], is_by_filter: bool) -> None:
        """An operator cancels some jobs, or all of an account."""
        every = list(self.ref.jobs.values())
        chosen = {job.id: job for job in (pick_one(pick, every) for pick in picks)}
        selection = JobSelection(ids=list(chosen))
        if is_by_filter:
            account = next(iter(chosen.values())).account
            selection = JobSelection(where=JobFilter(account_id=account))
            chosen = {job.id: job for job in every if job.account == account}
        result = self.setup.run(self.setup.producer.cancel_many(selection, actor=OPERATOR))
        if is_by_filter:  # without a state it means queued jobs
            chosen = {job.id: job for job in chosen.values() if job.state == "queued"}
        new = {
            job.id for job in chosen.values() if self.ref.cancelled(job, "cancelled_by_operator")
        }
        assert {one.id for one in result.done if one.is_new} == new
        assert result.matched == len(new)
        assert result.requested == sum(not chosen[one].has_ended for one in new)
        self.seen["cancelled many"] += len(new)

    @precondition(lambda self: self.ref.jobs)
    @rule(picks=st.lists(PICKS, min_size=1, max_size=4), is_by_filter=st.booleans())
    def retry_many(self, picks: list[int], is_by_filter: bool) -> None:
        """An operator retries some jobs, or all failed ones of an account."""
        every = list(self.ref.jobs.values())
        chosen = {job.id: job for job in (pick_one(pick, every) for pick in picks)}
        selection = JobSelection(ids=list(chosen))
        if is_by_filter:
            account = next(iter(chosen.values())).account
            selection = JobSelection(where=JobFilter(account_id=account))
            chosen = {job.id: job for job in every if job.account == account}
        result = self.setup.run(self.setup.producer.retry_many(selection, actor=OPERATOR))
        states = ("failed",) if is_by_filter else ("failed", "cancelled")
        new = [job for job in chosen.values() if job.state in states and job.retry is None]
        assert result.matched == len(new)
        for one in result.done:
            self._retried(chosen[one.id], one.job.id)
        self.seen["retried many"] += len(result.done)
        for refusal in result.refused:
            first = chosen[refusal.id]
            assert first.retry is None
            if first in new and not first.kind.is_carried(self.ref.route):
                assert type(refusal.error) is InvalidRequest
            elif first in new:
                # Cheaper ones of the same account may have taken what there was.
                assert isinstance(refusal.error, InsufficientCredits)
                assert not self.ref.has_room(first.account, [first.kind])
        reached = {*(one.id for one in result.done), *(one.id for one in result.refused)}
        assert reached >= {job.id for job in new}
