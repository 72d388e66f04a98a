"""Refusals of orders by a limit of their account. Nothing is stored, and nothing is held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from shared.errors import Fault, RequestRefused

_SUBMITS_PER_SECOND = 2.0
"""What one Kie account accepts: 20 new generations per 10 seconds."""


class LimitReached(RequestRefused):
    """The account has reached one of its limits. The same call succeeds later."""

    code = "limit_reached"
    limit: ClassVar[str]
    """The name of the limit, as the account has it."""
    account_id: str
    retry_after_seconds: int
    """The shortest time after which the same call may succeed."""


class QueueLimitReached(LimitReached):
    """The account has as many queued jobs as it may have (`max_queued_jobs`)."""

    code = "queue_limit_reached"
    limit = "max_queued_jobs"

    def __init__(self, account_id: str, *, allowed: int, used: int, asked: int) -> None:
        """`used` jobs are queued already, and `asked` were to be enqueued."""
        self.account_id, self.allowed, self.used, self.asked = account_id, allowed, used, asked
        self.retry_after_seconds = max(1, math.ceil((used + asked - allowed) / _SUBMITS_PER_SECOND))
        super().__init__(
            f"account {account_id!r} has {used:,} jobs queued, and {asked:,} more exceed its limit"
            f" of {allowed:,} (max_queued_jobs); nothing was stored. {self._advice()}; an admin"
            f" sets the limit with `darkroom accounts limits {account_id} --max-queued-jobs N`"
        )

    def _advice(self) -> str:
        if self.allowed == 0:
            return "The account may enqueue nothing now"
        if self.asked > self.allowed:
            return f"Send at most {self.allowed:,} at once"
        return "Send them again when jobs have left the queue, or cancel queued ones"


class DailyLimitReached(LimitReached):
    """The jobs placed today would hold and cost more than `max_credits_per_day`."""

    code = "daily_limit_reached"
    limit = "max_credits_per_day"

    def __init__(
        self,
        account_id: str,
        *,
        allowed: Decimal,
        used: Decimal,
        asked: Decimal,
        resets_at: datetime,
        seconds: float,
    ) -> None:
        """`used` credits count today, and `asked` were to be held. `seconds` until `resets_at`."""
        self.account_id, self.allowed, self.used, self.asked = account_id, allowed, used, asked
        self.resets_at = resets_at
        shown_used, shown_asked, shown_allowed = (
            f"{one.normalize():f}" for one in (used, asked, allowed)
        )
        self.retry_after_seconds = max(1, math.ceil(seconds))
        super().__init__(
            f"the jobs that account {account_id!r} placed today (UTC) hold or cost {shown_used}"
            f" credits, and {shown_asked} more exceed its limit of {shown_allowed}"
            " (max_credits_per_day); nothing was stored. The count starts again at"
            f" {resets_at:%Y-%m-%dT%H:%M:%SZ}; an operator sets the limit with"
            f" `darkroom accounts limits {account_id} --max-credits-per-day N`"
        )


class PriorityNotAllowed(RequestRefused):
    """A service key asked for a priority above the `max_priority` of its account."""

    code = "priority_not_allowed"

    def __init__(
        self, account_id: str, *, asked: str, allowed: str, fields: Sequence[str] = ("priority",)
    ) -> None:
        """`fields` are the fields of the request that ask for it."""
        self.account_id, self.asked, self.allowed = account_id, asked, allowed
        sentence = (
            f"{asked!r} is not allowed for service keys of account {account_id!r}; the highest is"
            f" {allowed!r} (max_priority); an operator sets it with"
            f" `darkroom accounts limits {account_id} --max-priority {asked}`"
        )
        self.faults = tuple(Fault(field, sentence) for field in fields)
        super().__init__("; ".join(str(fault) for fault in self.faults))
