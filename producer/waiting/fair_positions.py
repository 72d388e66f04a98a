"""Positions in the fair order of docs/decisions/0045, calculated from how many jobs wait where.

`darkroom_choose_jobs` chooses the jobs themselves. Here no job is read: an account's n-th waiting
job has a virtual time that follows from the turn and the weight of the account.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from producer.waiting.open_slots import OpenSlots

_SAME = 1e-6
"""Virtual times that differ by less, in jobs, are equal."""
_TRIES = 6
_NEVER_MOVED = datetime.max.replace(tzinfo=UTC)
_UNITS = 720_720
"""The parts of a job in which virtual times are counted.

A multiple of 1 to 16, so that the turns of accounts with such weights are whole numbers."""
SecondsUntil = Callable[[int], float | None]
"""Returns in how many seconds the job of a position is submitted; None for never."""


@dataclass(frozen=True, slots=True)
class PriorityTurn:
    """The turn of one priority."""

    priority: str
    weight: float
    turn: float
    """Its virtual time, at least that of the priorities that were served last."""
    account_clock: float
    """The virtual time of the accounts within it."""


@dataclass(frozen=True, slots=True)
class WaitingAccount:
    """The waiting jobs of one account and priority: due, not chosen, and of no paused model."""

    account_id: str
    priority: str
    waiting: int
    weight: float
    turn: float
    """Its virtual time, at least the clock of the priority."""
    moved_at: datetime = _NEVER_MOVED
    """When a job of it was last chosen. Of two with the same turn, the older one is first."""
    is_paused: bool = False
    slots: OpenSlots | None = None
    """When its open jobs end. None if no limit of open jobs holds its waiting jobs back."""
    max_open_jobs: int | None = None
    open_jobs: int | None = None
    """Counted only for an account with a limit."""
    oldest_due_at: datetime | None = None


class FairOrder:
    """What waits, at one time."""

    def __init__(
        self, chosen: int, priorities: Sequence[PriorityTurn], accounts: Sequence[WaitingAccount]
    ) -> None:
        """`chosen` jobs are submitted before all that wait."""
        self.chosen = chosen
        self.accounts = tuple(accounts)
        self.turns = {one.priority: one for one in priorities}
        self._by_name = {(one.account_id, one.priority): one for one in accounts}
        self._moving: dict[str, list[WaitingAccount]] = {name: [] for name in self.turns}
        for one in accounts:
            if one.waiting > 0 and not one.is_paused:
                self._moving[one.priority].append(one)
        self._queues = {name: _Queue(found) for name, found in self._moving.items()}
        self._all_of = {name: _Jobs.all_of(found) for name, found in self._moving.items()}

    @property
    def waiting(self) -> int:
        """The number of waiting jobs that no pause holds back."""
        return sum(one.waiting for found in self._moving.values() for one in found)

    def find(self, account_id: str, priority: str) -> WaitingAccount | None:
        """Return the waiting jobs of this account and priority, or None if there are none."""
        return self._by_name.get((account_id, priority))

    def new_account(self, account_id: str, priority: str, weight: float) -> WaitingAccount:
        """Return an account with no waiting job, as its next job will find it."""
        clock = self.turns[priority].account_clock
        return WaitingAccount(account_id, priority, 0, weight, clock)

    def place(self, account: WaitingAccount, number: int) -> Place:
        """Return what is chosen before the account's waiting job with this number, from 1."""
        tag = account.turn + (number - 1) / account.weight
        before = self._queues[account.priority].before(tag, account)
        return Place(self, self.turns[account.priority], number, before)

    def jobs_of(self, turn: PriorityTurn, seconds: float | None) -> int:
        """Return how many jobs of a priority may start within this time; None: at any time."""
        return self._all_of[turn.priority].within(seconds)


@dataclass(frozen=True, slots=True)
class _Jobs:
    """Numbers of jobs of several accounts. Those with reached limits start as far as they may."""

    unlimited: int
    limited: tuple[tuple[OpenSlots, int], ...]

    @classmethod
    def all_of(cls, accounts: Sequence[WaitingAccount]) -> _Jobs:
        return cls(
            sum(one.waiting for one in accounts if one.slots is None),
            tuple((one.slots, one.waiting) for one in accounts if one.slots is not None),
        )

    def within(self, seconds: float | None) -> int:
        """Return how many of them may start within this time; None: at any time."""
        if seconds is None:
            return self.unlimited + sum(jobs for _, jobs in self.limited)
        return self.unlimited + sum(
            min(jobs, slots.starts_within(seconds)) for slots, jobs in self.limited
        )


class _Queue:
    """The waiting jobs of one priority, for counts of those with lower virtual times.

    A page of a list counts once for each of its jobs, over every account that waits. So virtual
    times are whole numbers here, and the accounts of one weight are counted together. Of two jobs
    with the same time, the one of the account that moved last is behind: the order of the accounts
    is the last part of the number.
    """

    def __init__(self, accounts: Sequence[WaitingAccount]) -> None:
        self._keys = sorted((one.moved_at, one.account_id) for one in accounts)
        self._scale = 2 * len(accounts) + 2
        self._limited: list[tuple[OpenSlots, WaitingAccount]] = []
        by_weight: dict[float, list[tuple[int, int]]] = {}
        for one in accounts:
            if one.slots is not None:
                self._limited.append((one.slots, one))
            else:
                row = self._time(one.turn, one.weight, one), one.waiting
                by_weight.setdefault(one.weight, []).append(row)
        self._unlimited = {weight: sorted(rows) for weight, rows in by_weight.items()}

    def before(self, tag: float, own: WaitingAccount) -> _Jobs:
        """Return the jobs of the other accounts with lower virtual times than `tag` of `own`."""
        job = _UNITS * self._scale
        unlimited = 0
        for weight, rows in self._unlimited.items():
            end = self._time(tag, weight, own, is_tag=True) + job - 1
            started = rows[: bisect_left(rows, (end - job + 1, 0))]
            unlimited += sum(
                [jobs if (jobs := (end - first) // job) < most else most for first, most in started]
            )
        if own.slots is None and own.waiting > 0 and not own.is_paused:
            unlimited -= self._count(tag, own, own)
        limited = tuple(
            (slots, jobs)
            for slots, other in self._limited
            if other.account_id != own.account_id and (jobs := self._count(tag, other, own))
        )
        return _Jobs(unlimited, limited)

    def _count(self, tag: float, other: WaitingAccount, own: WaitingAccount) -> int:
        """Return how many jobs of `other` have lower virtual times than `tag` of `own`."""
        job = _UNITS * self._scale
        end = self._time(tag, other.weight, own, is_tag=True)
        first = self._time(other.turn, other.weight, other)
        return max(0, min((end - first + job - 1) // job, other.waiting))

    def _time(self, turn: float, weight: float, of: WaitingAccount, *, is_tag: bool = False) -> int:
        # A tag is before the account with the same key, so no two numbers are equal.
        place = 2 * bisect_left(self._keys, (of.moved_at, of.account_id)) + (0 if is_tag else 1)
        return round(turn * weight * _UNITS) * self._scale + place


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one job in the order."""

    order: FairOrder
    turn: PriorityTurn
    number: int
    before: _Jobs

    def position(self, seconds: float | None = None) -> int:
        """Return the position, from 1.

        With `seconds`, accounts with limits of open jobs count for no more jobs than may start
        within this time.
        """
        place = self.number + self.before.within(seconds)
        tag = self.turn.turn + (place - 1) / self.turn.weight
        others = 0
        for other in self.order.turns.values():
            if other.priority != self.turn.priority:
                most = self.order.jobs_of(other, seconds)
                is_first = other.weight > self.turn.weight
                others += _count_before((tag - other.turn) * other.weight, most, is_first)
        return self.order.chosen + place + others


def _count_before(jobs: float, most: int, is_first: bool) -> int:
    """Return how many of the virtual times 0, 1, 2, ... are before `jobs`, at most `most`.

    `is_first`: one that is equal is before it.
    """
    nearest = round(jobs)
    count = nearest + is_first if abs(jobs - nearest) < _SAME else math.ceil(jobs)
    return max(0, min(count, most))


def position_in_time(
    order: FairOrder, account: WaitingAccount, number: int, seconds_until: SecondsUntil
) -> tuple[int, float | None]:
    """Return the position of a job and in how many seconds it starts, None for never.

    Accounts that have reached their limit of open jobs are passed over until a job of theirs ends.
    How many of their jobs come before depends on the time, and the time on the position. Both only
    fall from one try to the next.
    """
    place = order.place(account, number)
    position = place.position()
    seconds = seconds_until(position)
    for _ in range(_TRIES):
        nearer = position if seconds is None else place.position(seconds)
        if nearer >= position:
            break
        position, seconds = nearer, seconds_until(nearer)
    if seconds is None or account.slots is None:
        return position, seconds
    own = account.slots.seconds_until_start(number + _own_jobs_before(order, account, position))
    return position, None if own is None else max(seconds, own)


def _own_jobs_before(order: FairOrder, account: WaitingAccount, position: int) -> int:
    """Return about how many jobs of the account's other priorities start before this position."""
    own = order.turns[account.priority].weight
    jobs = 0
    for turn in order.turns.values():
        other = order.find(account.account_id, turn.priority)
        if other is not None and turn.priority != account.priority:
            share = 1.0 if turn.weight > own else turn.weight / (own + turn.weight)
            jobs += min(other.waiting, int(position * share))
    return jobs
