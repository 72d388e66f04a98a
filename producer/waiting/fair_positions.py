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
from itertools import accumulate

from producer.waiting.open_slots import OpenSlots

_SAME = 1e-6
"""Virtual times that differ by less, in jobs, are equal."""
_TRIES = 6
_NEVER_MOVED = datetime.max.replace(tzinfo=UTC)
_UNITS = 720_720
"""The parts of a job in which virtual times are counted.

A multiple of 1 to 16, so that the turns of accounts with such weights are whole numbers."""
_SMALLEST_BLOCK = 32
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
        ordered = sorted(accounts, key=_order_of_equals)
        self._keys = [_order_of_equals(one) for one in ordered]
        self._scale = 2 * len(accounts) + 2
        self._job = _UNITS * self._scale
        self._limited: list[tuple[OpenSlots, WaitingAccount, int]] = []
        by_weight: dict[float, list[tuple[int, int]]] = {}
        for place, one in enumerate(ordered):
            first = self._time(one.turn, one.weight, 2 * place + 1)
            if one.slots is not None:
                self._limited.append((one.slots, one, first))
            else:
                by_weight.setdefault(one.weight, []).append((first, one.waiting))
        self._unlimited = {
            weight: (
                _JobTimes([first for first, _ in rows], self._job),
                _JobTimes([first + jobs * self._job for first, jobs in rows], self._job),
            )
            for weight, rows in by_weight.items()
        }

    def before(self, tag: float, own: WaitingAccount) -> _Jobs:
        """Return the jobs of the other accounts with lower virtual times than `tag` of `own`."""
        # A tag is before the account with the same key, so no two numbers are equal.
        place = 2 * bisect_left(self._keys, _order_of_equals(own))
        unlimited = 0
        for weight, (firsts, ends) in self._unlimited.items():
            until = self._time(tag, weight, place)
            unlimited += firsts.count_jobs(until) - ends.count_jobs(until)
        if own.slots is None and own.waiting > 0 and not own.is_paused:
            first = self._time(own.turn, own.weight, place + 1)
            unlimited -= self._count(self._time(tag, own.weight, place), first, own.waiting)
        limited = tuple(
            (slots, jobs)
            for slots, other, first in self._limited
            if other.account_id != own.account_id
            and (jobs := self._count(self._time(tag, other.weight, place), first, other.waiting))
        )
        return _Jobs(unlimited, limited)

    def _count(self, until: int, first: int, most: int) -> int:
        """Return how many jobs of an account, from the time of its first, are before `until`."""
        return max(0, min(-((first - until) // self._job), most))

    def _time(self, turn: float, weight: float, place: int) -> int:
        return round(turn * weight * _UNITS) * self._scale + place


def _order_of_equals(account: WaitingAccount) -> tuple[datetime, str]:
    return account.moved_at, account.account_id


class _JobTimes:
    """Counts of the jobs from each of many first times on, one every `job`, up to any time.

    One count takes the square of the logarithm of how many times there are. With a time written as
    `quotient * job + remainder`, the jobs from it until `until` are the difference of the two
    quotients, and one more if its remainder is the lower one. Quotients are summed up beforehand.
    Remainders are kept sorted in blocks of each size, so that a few searches count them.
    """

    def __init__(self, times: Sequence[int], job: int) -> None:
        self._job = job
        self._times = sorted(times)
        self._sums = [0, *accumulate(time // job for time in self._times)]
        self._remainders = [time % job for time in self._times]
        size = _SMALLEST_BLOCK
        blocks = [
            sorted(self._remainders[start : start + size])
            for start in range(0, len(self._times) - size + 1, size)
        ]
        self._blocks_by_size: list[tuple[int, list[list[int]]]] = []
        while blocks:
            self._blocks_by_size.insert(0, (size, blocks))
            blocks = [sorted(a + b) for a, b in zip(blocks[::2], blocks[1::2], strict=False)]
            size *= 2

    def count_jobs(self, until: int) -> int:
        """Return how many jobs of all are before this time."""
        started = bisect_left(self._times, until)
        quotient, remainder = divmod(until, self._job)
        return started * quotient - self._sums[started] + self._count_lower(started, remainder)

    def _count_lower(self, started: int, remainder: int) -> int:
        """Return how many of the first remainders, as many as `started`, are lower than this."""
        lower = done = 0
        for size, blocks in self._blocks_by_size:
            if started - done >= size:
                lower += bisect_left(blocks[done // size], remainder)
                done += size
        return lower + sum([one < remainder for one in self._remainders[done:started]])


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
