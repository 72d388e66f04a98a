"""The reference of the fair order: its rule as a person checks it, not as SQL computes it.

After docs/decisions/0045. Which job is next among equals is free. What is checked: nothing is
chosen that may not be submitted, each account's oldest first, no account beyond its limit, nothing
left over while there is room, and shares by weight among accounts that wait all the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING
from uuid import UUID

from shared.domain.job import Priority

if TYPE_CHECKING:
    from tests.model.reference import Reference, RefJob

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
PLACES_WITHOUT_WAIT = 8


@dataclass(slots=True)
class RefOrder:
    """Which queued jobs are chosen, and what each account was given."""

    chosen: set[UUID] = field(default_factory=set)
    weights: dict[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    """The longest step of each account. The step before a change of the weight still counts."""
    limits: dict[str, int] = field(default_factory=dict)
    given: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)
    """By priority and two accounts that wait all the time: how many jobs of each were chosen."""

    def placed(self, ref: Reference, job: RefJob) -> None:
        """Choose a new job at once if nothing waits before it."""
        due = [one for one in ref.jobs_in("queued") if one.is_due and one is not job]
        if (
            len(due) < PLACES_WITHOUT_WAIT
            and all(one.id in self.chosen for one in due)
            and not any(one.scope != "kie_account" for one in ref.active_pauses())
            and job.account not in self.limits
        ):
            self.chosen.add(job.id)

    def taken_back(self, ref: Reference) -> None:
        """Take back what a pause of its model or account applies to."""
        pauses = [one for one in ref.active_pauses() if one.scope in {"model", "account"}]
        self.chosen -= {
            job.id for job in ref.jobs_in("queued") if any(one.applies_to(job) for one in pauses)
        }

    def open_jobs(self, ref: Reference, account: str) -> int:
        """Return how many jobs of the account count for its limit."""
        in_flight = ref.jobs_in("submitting", "unknown", "generating")
        chosen = [job for job in ref.jobs_in("queued") if job.id in self.chosen]
        return sum(job.account == account for job in (*in_flight, *chosen))

    def has_room(self, ref: Reference, account: str) -> bool:
        """Whether the account may have one more job open."""
        limit = self.limits.get(account)
        return limit is None or self.open_jobs(ref, account) < limit

    def waiting(self, ref: Reference) -> list[RefJob]:
        """Return the jobs that may be chosen, limits of accounts apart.

        A pause of a Kie account stops their submit, not the choice.
        """
        return [
            job for job in ref.jobs_in("queued") if job.id not in self.chosen and ref.is_read(job)
        ]

    def backlogged(self, ref: Reference) -> set[tuple[str, str]]:
        """Return the priorities and accounts of which a job may be chosen now."""
        return {
            (job.priority, job.account)
            for job in self.waiting(ref)
            if self.has_room(ref, job.account)
        }

    def watch(self, ref: Reference) -> None:
        """Count only for accounts that wait all the time, side by side."""
        waits = self.backlogged(ref)
        pairs = {
            (priority, *pair)
            for priority in PRIORITIES
            for pair in combinations(sorted(b for a, b in waits if a == priority), 2)
        }
        self.given = {pair: self.given.get(pair, Counter()) for pair in pairs}

    def choose(
        self, ref: Reference, ids: Sequence[UUID], places: int, order: Mapping[UUID, object]
    ) -> None:
        """Accept these jobs as chosen. Fails if the rule forbids them. `order` sorts by age."""
        waiting = {job.id: job for job in self.waiting(ref)}
        self.watch(ref)
        wrong = [ref.jobs[one] for one in ids if one not in waiting]
        assert not wrong, f"chosen although they may not be submitted, or twice: {wrong}"
        assert len(ids) <= places
        assert len(set(ids)) == len(ids)
        self._check_age(list(waiting.values()), ids, order)
        self.chosen |= set(ids)
        for account in {waiting[one].account for one in ids}:
            if account in self.limits:
                assert self.open_jobs(ref, account) <= self.limits[account]
        if len(ids) < places:
            assert not self.backlogged(ref), "room was left, and a job that may go"
        self._check_shares(ref, [waiting[one] for one in ids])

    def _check_age(
        self, waiting: Collection[RefJob], ids: Sequence[UUID], order: Mapping[UUID, object]
    ) -> None:
        for account, priority in {(job.account, job.priority) for job in waiting}:
            own = [one for one in waiting if (one.account, one.priority) == (account, priority)]
            own.sort(key=lambda job: order[job.id])  # type: ignore[arg-type, return-value]
            taken = [job.id for job in own if job.id in ids]
            assert taken == [job.id for job in own][: len(taken)], "not the oldest first"

    def _check_shares(self, ref: Reference, chosen: Sequence[RefJob]) -> None:
        """Two that wait all the time differ by no more than one job each, by weight."""
        for job in chosen:
            for pair, given in self.given.items():
                if job.priority == pair[0] and job.account in pair[1:]:
                    given[job.account] += 1
        self.watch(ref)
        for (_, one, other), given in self.given.items():
            weights = self.weights.get(one, 1.0), self.weights.get(other, 1.0)
            served = given[one] / weights[0] - given[other] / weights[1]
            assert abs(served) <= self._step(one) + self._step(other) + 1e-6, (given, weights)

    def weigh(self, account: str, weight: float) -> None:
        """Change the share of an account."""
        self.steps[account] = max(self._step(account), 1 / weight)
        self.weights[account] = weight
        self.given.clear()

    def _step(self, account: str) -> float:
        return self.steps.get(account, 1.0)
