"""Draws the plan of a campaign: the time of each fault. Pure; a seed repeats it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from random import Random
from typing import get_args

from shared.settings import CrashPoint
from tests.campaign.campaign_options import CampaignOptions

CRASH_POINTS: tuple[CrashPoint, ...] = get_args(CrashPoint)


class FaultKind(StrEnum):
    """The kinds of faults."""

    KILL_WORKER = "kill -9 of a worker at a random time"
    DRILL = "kill -9 of a worker whose successor kills itself at a named point"
    KILL_PRODUCER = "kill -9 of the process that places the orders"
    KILL_API = "kill -9 of the HTTP API"
    KILL_VALKEY = "kill -9 of Valkey"
    KILL_POSTGRES = "kill -9 of Postgres"
    FLUSH = "FLUSHALL"
    FREEZE_WORKER = "a worker frozen for longer than its leases"
    CUT_OFF_WORKER = "a worker cut off from Valkey and Postgres"
    SLOW_LINKS = "a worker's links to Valkey and Postgres slowed, and split into small pieces"
    LOSE_REQUESTS = "a worker's requests to Valkey and Postgres lost on the way"
    LOSE_REPLIES = "Valkey's and Postgres's replies to a worker lost on the way"
    HANG_VALKEY = "Valkey hangs"
    REFUSE_WRITES = "Postgres refuses every write, as a demoted server does"
    LOCK_ACCOUNT = "an account's row locked by another session"
    SKEW_CLOCK = "a worker's clock set wrong by minutes, then right again"
    FREEZE_LINKS = "a worker's links to Valkey and Postgres frozen for good"
    PAUSE_SUBMITS = "submits of everything, a model, an account or a Kie account paused for a while"
    CHANGE_PRICE = "a price changed by an UPDATE, or by a scheduled row"


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault, so many seconds after the start."""

    at_seconds: float
    kind: FaultKind
    point: CrashPoint | None = None
    """For drills: the point where the killed worker's successor kills itself."""
    length_seconds: float = 0.0
    """The duration of a fault that lasts."""


# Shares of the kills; the rest are workers at random times. A drill is two deaths.
_SHARES = {
    FaultKind.KILL_VALKEY: 0.10,
    FaultKind.KILL_POSTGRES: 0.04,
    FaultKind.KILL_PRODUCER: 0.04,
    FaultKind.KILL_API: 0.06,
}
_DRILLS = 0.12
# One in so many kills, beside the kills.
_KILLS_PER_FLUSH, _KILLS_PER_FREEZE, _KILLS_PER_CUT, _KILLS_PER_HANG = 40, 20, 20, 100
_KILLS_PER_FREEZE_IF_HARSH, _KILLS_PER_PRICE, _KILLS_PER_TROUBLE = 2, 10, 40
_KILLS_PER_PAUSE = 10
_KILLS_PER_REFUSAL, _KILLS_PER_LOCK, _KILLS_PER_FROZEN_LINKS, _KILLS_PER_SKEW = 20, 20, 20, 20
_FIRST_SHARE, _LAST_SHARE = 0.05, 0.95
_LONG_OUTAGE_SECONDS = 30.0


def draw_plan(options: CampaignOptions, random: Random) -> list[PlannedFault]:
    """Return the faults in the order of their times, with exactly as many kills as requested."""
    window = options.window_seconds
    bare = [*_kills(options.kills, random), *_others(options, random)]
    moments = [random.uniform(_FIRST_SHARE * window, _LAST_SHARE * window) for _ in bare]
    placed = [
        PlannedFault(moment, fault.kind, fault.point, fault.length_seconds)
        for moment, fault in zip(moments, bare, strict=True)
    ]
    return sorted(placed, key=lambda fault: fault.at_seconds)


def _kills(kills: int, random: Random) -> Iterator[PlannedFault]:
    drills = max(1, round(kills * _DRILLS))
    points = cycle(random.sample(CRASH_POINTS, len(CRASH_POINTS)))
    yield from (PlannedFault(0, FaultKind.DRILL, next(points)) for _ in range(drills))
    others = [
        PlannedFault(0, kind)
        for kind, share in _SHARES.items()
        for _ in range(max(1, round(kills * share)))
    ]
    yield from others
    yield from [PlannedFault(0, FaultKind.KILL_WORKER)] * max(0, kills - 2 * drills - len(others))


def _others(options: CampaignOptions, random: Random) -> Iterator[PlannedFault]:
    kills, is_harsh = options.kills, options.fault_level == "harsh"
    yield from [PlannedFault(0, FaultKind.FLUSH)] * max(1, kills // _KILLS_PER_FLUSH)
    yield from [PlannedFault(0, FaultKind.CHANGE_PRICE)] * max(1, kills // _KILLS_PER_PRICE)
    for _ in range(kills // (_KILLS_PER_FREEZE_IF_HARSH if is_harsh else _KILLS_PER_FREEZE)):
        # With harsh faults long enough for another worker to have settled everything meanwhile.
        seconds = random.uniform(13, 15) if is_harsh else random.uniform(11, 14)
        yield PlannedFault(0, FaultKind.FREEZE_WORKER, None, seconds)
    for _ in range(kills // _KILLS_PER_CUT):
        yield PlannedFault(0, FaultKind.CUT_OFF_WORKER, None, random.uniform(4, 15))
    for kind in (FaultKind.SLOW_LINKS, FaultKind.LOSE_REQUESTS, FaultKind.LOSE_REPLIES):
        for _ in range(kills // _KILLS_PER_TROUBLE):
            yield PlannedFault(0, kind, None, random.uniform(2, 8))
    for kind, times, shortest, longest in (
        (FaultKind.REFUSE_WRITES, max(1, kills // _KILLS_PER_REFUSAL), 2, 10),
        (FaultKind.LOCK_ACCOUNT, max(1, kills // _KILLS_PER_LOCK), 3, 15),
        (FaultKind.PAUSE_SUBMITS, max(2, kills // _KILLS_PER_PAUSE), 3, 8),
        (FaultKind.SKEW_CLOCK, max(1, kills // _KILLS_PER_SKEW), 10, 30),
    ):
        for _ in range(times):
            yield PlannedFault(0, kind, None, random.uniform(shortest, longest))
    for _ in range(kills // _KILLS_PER_FROZEN_LINKS):
        yield PlannedFault(0, FaultKind.FREEZE_LINKS)
    for number in range(kills // _KILLS_PER_HANG):
        seconds = _LONG_OUTAGE_SECONDS if number == 0 else random.uniform(3, 8)
        yield PlannedFault(0, FaultKind.HANG_VALKEY, None, seconds)
