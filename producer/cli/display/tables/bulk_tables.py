"""What an act on many jobs means: a sentence before it, the credits by account, the refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from producer.cli.display.console import build_table
from producer.cli.display.text_format import NO_VALUE, credits_text, printable
from shared.domain.counted import counted

if TYPE_CHECKING:
    from producer.bulk.bulk_result import BulkResult

_ACCOUNTS_NAMED = 3


def describe_estimate(result: BulkResult, limit: int) -> str:
    """Return how many jobs the action is for, and what it means for the credits of whom."""
    verb = "would hold" if result.action == "retry" else "would release"
    named = ", ".join(
        f"{credits_text(one.credits)} of {printable(one.account_id)}"
        + (f", which lacks {credits_text(one.lacking)}" if _lacks(result, one.lacking) else "")
        for one in result.accounts[:_ACCOUNTS_NAMED]
    )
    left = len(result.accounts) - _ACCOUNTS_NAMED
    more = f" and {counted(left, 'more account')}" if left > 0 else ""
    first = f" ({min(result.matched, limit):,} in this call)" if result.matched > limit else ""
    return (
        f"to {result.action} {counted(result.matched, 'job')}{first} {verb}"
        f" {credits_text(result.credits)} credits: {named}{more}{_requested_text(result)}"
    )


def _requested_text(result: BulkResult) -> str:
    """Say how many of the cancels end by Kie's outcome, if there are any."""
    if not result.requested:
        return ""
    count = counted(result.requested, "job")
    return f"; {count} at Kie would not be waited for any more, and end by Kie's outcome"


def _lacks(result: BulkResult, lacking: object) -> bool:
    return result.action == "retry" and bool(lacking)


def build_accounts_table(result: BulkResult) -> Table:
    """Return a table with a row for each account."""
    is_retry = result.action == "retry"
    table = build_table(
        *("account", "jobs", "would hold" if is_retry else "would release", "available", "lacking"),
        right=("jobs", "would hold", "would release", "available", "lacking"),
    )
    for one in result.accounts:
        table.add_row(
            printable(one.account_id),
            f"{one.jobs:,}",
            credits_text(one.credits),
            credits_text(one.available) if one.available is not None else NO_VALUE,
            credits_text(one.lacking) if is_retry else NO_VALUE,
        )
    return table


def build_refusals_table(result: BulkResult) -> Table:
    """Return a table with a row for each job that was refused."""
    table = build_table("id", "why", sentences=("why",))
    for one in result.refused:
        table.add_row(str(one.id), printable(str(one.error)))
    return table
