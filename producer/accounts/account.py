"""An account: its credits at one time, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.domain.job import Priority


@dataclass(frozen=True, slots=True)
class Account:
    """An account, its credits at one time, and its limits. A limit of None is no limit."""

    id: str
    balance: Decimal
    """All credits, including held ones. Negative only after a price rise between enqueue and
    success, or after an adjustment with `allow_debt`."""
    held: Decimal
    """Credits held for open jobs."""
    available: Decimal
    """Credits that new jobs may hold: the balance minus the held credits."""
    created_at: datetime
    weight: Decimal = Decimal(1)
    """The share of the account while others wait too: one with weight 2 gets twice as many submits
    as one with weight 1."""
    max_open_jobs: int | None = None
    """The most jobs that are submitting, unknown or generating at once."""
    max_queued_jobs: int | None = None
    """The most queued jobs, including scheduled ones. An enqueue beyond it is refused."""
    max_credits_per_day: Decimal | None = None
    """The most credits that the jobs placed in one day (UTC) hold and cost together."""
    max_priority: Priority = "high"
    """The highest priority that service keys may ask for."""
    credits_today: Decimal = Decimal(0)
    """Credits that the jobs placed since midnight (UTC) hold or were charged. Failed and cancelled
    jobs do not count. A refund does not lower it."""
