"""What an act on many jobs did, or would do: outcomes job by job, and credits by account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from producer.bulk.job_selection import BulkAction
from shared.domain.job import Job
from shared.errors import DarkroomError
from shared.job_json import credits_to_json


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """One job that the action was done to."""

    id: UUID
    """The job that was selected."""
    job: Job
    """The cancelled job, or the job that retries it."""
    is_new: bool
    """Whether this call did it. False if it was done before."""

    @property
    def is_request(self) -> bool:
        """Whether this call has requested the cancel of a job at Kie, which is open still."""
        return self.is_new and self.job.is_cancel_requested


@dataclass(frozen=True, slots=True)
class BulkRefusal:
    """One job that the action was not done to."""

    id: UUID
    error: DarkroomError


@dataclass(frozen=True, slots=True)
class AccountCredits:
    """What the action means for the credits of one account."""

    account_id: str
    jobs: int
    credits: Decimal
    """What the retries hold, or what the cancels release. A request releases nothing yet."""
    available: Decimal | None = None
    """What the account has available. None after the action."""
    jobs_without_price: int = 0
    """The jobs that cannot be retried, because there is no price for them."""

    @property
    def lacking(self) -> Decimal:
        """The credits that the account lacks for retrying all of these jobs."""
        available = self.credits if self.available is None else self.available
        return max(self.credits - available, Decimal(0))


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What a call did, or would do with `dry_run`."""

    action: BulkAction
    is_dry_run: bool
    matched: int
    """The jobs that the action was possible for when the call began."""
    remaining: int
    """Those of them that this call is not for: the next one is."""
    next_below: UUID | None
    """`below` of the next call. None if nothing remains."""
    newest_id: UUID | None
    """The newest of the jobs that matched. None if the selection has ids, or nothing matched."""
    accounts: Sequence[AccountCredits]
    """By account. In a dry run of all that matched, up to 100,000 jobs, else of what was done."""
    done: Sequence[BulkOutcome] = field(default=())
    refused: Sequence[BulkRefusal] = field(default=())
    requested: int = 0
    """Those of the cancels that are requests: their jobs are at Kie, and end by its outcome."""

    @property
    def credits(self) -> Decimal:
        """The sum of the credits of all accounts."""
        return sum((one.credits for one in self.accounts), Decimal(0))


def sum_up(done: Sequence[BulkOutcome]) -> list[AccountCredits]:
    """Return the credits of the jobs that this call cancelled or made, by account."""
    sums: dict[str, tuple[int, Decimal]] = {}
    for one in done:
        if one.is_new:
            jobs, credits = sums.get(one.job.account_id, (0, Decimal(0)))
            moved = Decimal(0) if one.is_request else one.job.credits_quoted
            sums[one.job.account_id] = (jobs + 1, credits + moved)
    return [AccountCredits(account, *sums[account]) for account in sorted(sums)]


def bulk_result_to_json(result: BulkResult) -> dict[str, Any]:
    """Return the object of the HTTP API and of the command line."""
    return {
        "action": result.action,
        "dry_run": result.is_dry_run,
        "matched": result.matched,
        "remaining": result.remaining,
        "requested": result.requested,
        "next_cursor": str(result.next_below) if result.next_below else None,
        "credits": credits_to_json(result.credits),
        "accounts": [
            {
                "account_id": one.account_id,
                "jobs": one.jobs,
                "credits": credits_to_json(one.credits),
                "available": credits_to_json(one.available),
                "lacking": credits_to_json(one.lacking),
                "jobs_without_price": one.jobs_without_price,
            }
            for one in result.accounts
        ],
        "done": [
            {
                "id": str(one.id),
                "job_id": str(one.job.id),
                "account_id": one.job.account_id,
                "state": one.job.state.value,
                "is_new": one.is_new,
            }
            for one in result.done
        ],
        "refused": [
            {"id": str(one.id), "code": one.error.code, "detail": str(one.error)}
            for one in result.refused
        ],
    }
