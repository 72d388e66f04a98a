"""Who waits: the accounts in the order in which they are served, and when the backlog ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from producer.row_json import row_to_json
from producer.waiting.fair_positions import FairOrder, WaitingAccount
from producer.waiting.wait_estimates import estimate_wait
from producer.waiting.waiting_snapshot import WaitingSnapshot
from shared.domain.job import WaitReason


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """What waits of one account and priority."""

    account_id: str
    priority: str
    waiting: int
    """Due jobs that are not chosen yet. Those of paused models are not counted."""
    oldest_waiting_seconds: float
    weight: float
    share: float
    """Its part of the submits while all of these wait, 0 to 1, before limits of open jobs."""
    max_open_jobs: int | None
    open_jobs: int | None
    """Counted only with a limit."""
    is_paused: bool
    next_start_at: datetime | None
    """When its next job is expected to be submitted. None with a `wait_reason`."""
    wait_reason: WaitReason | None


@dataclass(frozen=True, slots=True)
class WaitingTable:
    """What waits, and how fast it is submitted."""

    at: datetime
    waiting: int
    """Jobs that wait and that no pause holds back."""
    chosen: int
    """Jobs that are submitted next, before all that wait."""
    submits_per_second: float | None
    """The expected rate. None if nothing limits it and none was measured."""
    ends_at: datetime | None
    """When all that waits now is expected to be submitted. None with a `wait_reason`.

    `submits_refused` here also where Kie refuses those of one model: nobody knows for how long.
    """
    wait_reason: WaitReason | None
    accounts: tuple[WaitingRow, ...]
    """Those that are served first come first."""
    accounts_in_all: int


def waiting_table(snapshot: WaitingSnapshot, limit: int) -> WaitingTable:
    """Return the first accounts and priorities that wait, at most `limit`."""
    order, pace = snapshot.order, snapshot.pace
    found = sorted(
        (one for one in order.accounts if one.waiting > 0),
        key=lambda one: (
            one.is_paused,
            -order.turns[one.priority].weight,
            one.turn,
            one.moved_at,
            one.account_id,
        ),
    )
    shares = find_shares(order)
    paused = max(
        (one.ends_in_seconds for one in snapshot.pauses if one.scope == "everything"), default=0.0
    )
    seconds = pace.seconds_until(order.chosen + order.waiting)
    reason: WaitReason | None = pace.stopped
    if math.isinf(paused):
        reason = reason or "paused"
    elif snapshot.braked_families:
        # Its jobs are submitted one at a time until Kie takes one.
        reason = reason or "submits_refused"
    return WaitingTable(
        at=snapshot.at,
        waiting=order.waiting,
        chosen=order.chosen,
        submits_per_second=pace.per_second,
        ends_at=None
        if reason or seconds is None
        else snapshot.at + timedelta(seconds=paused + seconds),
        wait_reason=reason,
        accounts=tuple(_row(snapshot, one, shares) for one in found[:limit]),
        accounts_in_all=len(found),
    )


def find_shares(order: FairOrder) -> dict[tuple[str, str], float]:
    """Return the share of each account and priority: that of its priority, divided by weight."""
    weights: dict[str, float] = {}
    moving = [one for one in order.accounts if one.waiting > 0 and not one.is_paused]
    for one in moving:
        weights[one.priority] = weights.get(one.priority, 0.0) + one.weight
    priorities = sum(order.turns[name].weight for name in weights)
    return {
        (one.account_id, one.priority): (order.turns[one.priority].weight / priorities)
        * (one.weight / weights[one.priority])
        for one in moving
    }


def _row(
    snapshot: WaitingSnapshot,
    account: WaitingAccount,
    shares: Mapping[tuple[str, str], float],
) -> WaitingRow:
    # The row is of every model. A pause of one model holds back none that is counted.
    wait = estimate_wait(snapshot, account, 1, "")
    oldest = account.oldest_due_at
    return WaitingRow(
        account_id=account.account_id,
        priority=account.priority,
        waiting=account.waiting,
        oldest_waiting_seconds=0.0
        if oldest is None
        else max((snapshot.at - oldest).total_seconds(), 0.0),
        weight=account.weight,
        share=round(shares.get((account.account_id, account.priority), 0.0), 4),
        max_open_jobs=account.max_open_jobs,
        open_jobs=account.open_jobs,
        is_paused=account.is_paused,
        next_start_at=wait.start_at,
        wait_reason=wait.wait_reason,
    )


def waiting_to_json(table: WaitingTable) -> dict[str, Any]:
    """Return the table as a JSON object."""
    return {
        **row_to_json({name: value for name, value in asdict(table).items() if name != "accounts"}),
        "accounts": [row_to_json(asdict(one)) for one in table.accounts],
    }
