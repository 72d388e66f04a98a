"""Places what the pictures of waiting jobs show: four accounts that wait for one budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import islice

from producer.accounts.account_limits import AccountLimits
from producer.actor import Actor
from producer.orders.order import Order, Priority
from shared.domain.job import Job
from tests.screenshots.planned_orders import PlannedOrder
from tests.support.deployment import Deployment

_LIMITS: Mapping[str, tuple[AccountLimits, str]] = {
    "halcyon-prints": ({"weight": Decimal(4), "max_queued_jobs": 500}, "contract of 2026, part 3"),
    "northlight-studio": ({"max_credits_per_day": Decimal(2_500)}, "asked for a limit by e-mail"),
    "paperboat-games": ({"weight": Decimal(2), "max_queued_jobs": 10_000}, "nightly batches"),
    "riverside-museum": ({"max_open_jobs": 2, "max_priority": "normal"}, "prepaid for a test"),
}
_WAITING: Sequence[tuple[str, Priority, int]] = (
    ("paperboat-games", "low", 180),
    ("paperboat-games", "normal", 60),
    ("northlight-studio", "normal", 50),
    ("riverside-museum", "normal", 12),
    ("halcyon-prints", "normal", 70),
    ("halcyon-prints", "high", 30),
)
"""How many orders of each account and priority wait."""
_SCHEDULED = 25
_MONDAY, _START = 0, time(6)


async def set_limits(deployment: Deployment, actor: Actor) -> None:
    """Set the limits of the accounts."""
    for account_id, (limits, reason) in _LIMITS.items():
        await deployment.producer.billing.set_account_limits(
            account_id, reason=reason, actor=actor, **limits
        )


async def place_waiting_orders(
    deployment: Deployment, orders: Sequence[PlannedOrder]
) -> Mapping[Priority, Sequence[Job]]:
    """Enqueue more than Kie takes within minutes. Returns the jobs by priority."""
    placed: dict[Priority, list[Job]] = {"high": [], "normal": [], "low": []}
    for account_id, priority, count in _WAITING:
        own = islice((one for one in orders if one.account_id == account_id), count)
        suffix = f"-{priority}"
        wanted = [_order(one, suffix, priority=priority) for one in own]
        placed[priority] += await deployment.producer.enqueue_many(wanted)
    return placed


async def place_scheduled_orders(
    deployment: Deployment, orders: Sequence[PlannedOrder], now: datetime
) -> Sequence[Job]:
    """Enqueue orders for Monday morning."""
    days = (_MONDAY - now.weekday()) % 7 or 7
    at = datetime.combine(now.date() + timedelta(days=days), _START, tzinfo=now.tzinfo)
    own = islice((one for one in orders if one.account_id == "northlight-studio"), _SCHEDULED)
    wanted = [_order(one, "-monday", run_at=at) for one in own]
    return await deployment.producer.enqueue_many(wanted)


def _order(
    planned: PlannedOrder,
    key_suffix: str,
    *,
    priority: Priority = "normal",
    run_at: datetime | None = None,
) -> Order:
    return Order(
        request=planned.request,
        account_id=planned.account_id,
        idempotency_key=planned.idempotency_key + key_suffix,
        metadata=planned.metadata,
        priority=priority,
        run_at=run_at,
    )
