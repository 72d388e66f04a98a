"""Positions in the fair order of docs/decisions/0045, calculated from how many jobs wait where.

`darkroom_choose_jobs` chooses the jobs themselves. Here no job is read: an account's n-th waiting
job has a virtual time that follows from the turn and the weight of the account.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from producer.waiting.open_slots import OpenSlots

_SAME = 1e-6
"""Virtual times that differ by less, in jobs, are equal."""
_TRIES = 12
_NEVER_MOVED = datetime.max.replace(tzinfo=UTC)
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

    @property
    def _order(self) -> tuple[float, datetime, str]:
        return self.turn, self.moved_at, self.account_id


@dataclass(frozen=True, slots=True)
class FairOrder:
    """What waits, at one time."""

    chosen: int
    """The jobs that are chosen already, and are submitted before all that wait."""
    priorities: tuple[PriorityTurn, ...]
    accounts: tuple[WaitingAccount, ...]
    _moving: dict[str, list[WaitingAccount]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for turn in self.priorities:
            self._moving[turn.priority] = [
                one
                for one in self.accounts
                if one.priority == turn.priority and one.waiting > 0 and not one.is_paused
            ]

    @property
    def waiting(self) -> int:
        """The number of waiting jobs that no pause holds back."""
        return sum(one.waiting for found in self._moving.values() for one in found)

    def find(self, account_id: str, priority: str) -> WaitingAccount | None:
        """Return the waiting jobs of this account and priority, or None if there are none."""
        for one in self.accounts:
            if one.account_id == account_id and one.priority == priority:
                return one
        return None

    def new_account(self, account_id: str, priority: str, weight: float) -> WaitingAccount:
        """Return an account with no waiting job, as its next job will find it."""
        turn = self._turn(priority)
        return WaitingAccount(account_id, priority, 0, weight, turn.account_clock)

    def _turn(self, priority: str) -> PriorityTurn:
        return next(one for one in self.priorities if one.priority == priority)

    def position(self, account: WaitingAccount, number: int, seconds: float | None = None) -> int:
        """Return the position of the account's waiting job with this number, from 1.

        With `seconds`, an account with a limit of open jobs counts for no more jobs than may start
        within this time.
        """
        own = self._turn(account.priority)
        tag = account.turn + (number - 1) / account.weight
        place = number + sum(
            _jobs_before(one, tag, account, seconds)
            for one in self._moving[account.priority]
            if one.account_id != account.account_id
        )
        own_tag = own.turn + (place - 1) / own.weight
        others = 0
        for other in self.priorities:
            if other.priority != own.priority:
                waiting = sum(
                    _within_limit(one, one.waiting, seconds) for one in self._moving[other.priority]
                )
                is_first = other.weight > own.weight
                others += _count_before(other.turn, other.weight, own_tag, waiting, is_first)
        return self.chosen + place + others


def _jobs_before(
    other: WaitingAccount, tag: float, account: WaitingAccount, seconds: float | None
) -> int:
    """Return how many jobs of another account of the same priority are chosen before this tag."""
    is_first = other._order[1:] < account._order[1:]
    count = _count_before(other.turn, other.weight, tag, other.waiting, is_first)
    return _within_limit(other, count, seconds)


def _within_limit(account: WaitingAccount, jobs: int, seconds: float | None) -> int:
    if seconds is None or account.slots is None:
        return jobs
    return min(jobs, account.slots.starts_within(seconds))


def _count_before(turn: float, weight: float, tag: float, most: int, is_first: bool) -> int:
    """Return how many of the virtual times `turn`, `turn + 1/weight`, ... are before `tag`.

    `is_first`: one that is equal to `tag` is before it.
    """
    jobs = (tag - turn) * weight
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
    position = order.position(account, number)
    seconds = seconds_until(position)
    if any(one.slots is not None for one in order.accounts):
        for _ in range(_TRIES):
            if seconds is None:
                break
            nearer = order.position(account, number, seconds)
            if nearer >= position:
                break
            position, seconds = nearer, seconds_until(nearer)
    if seconds is not None and account.slots is not None:
        own = account.slots.seconds_until_start(number + _own_jobs_before(order, account, position))
        return position, None if own is None else max(seconds, own)
    return position, seconds


def _own_jobs_before(order: FairOrder, account: WaitingAccount, position: int) -> int:
    """Return about how many jobs of the account's other priorities start before this position."""
    weights = {one.priority: one.weight for one in order.priorities}
    own = weights[account.priority]
    return sum(
        one.waiting
        if weights[one.priority] > own
        else min(one.waiting, int(position * weights[one.priority] / (own + weights[one.priority])))
        for one in order.accounts
        if one.account_id == account.account_id and one.priority != account.priority
    )
