"""Statements of accounts: opening and closing balance, totals by month and kind, and lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from producer.list_pages import MAX_ROW_ID
from shared.adapters.postgres.row_dicts import as_dicts
from shared.errors import AccountNotFound, Fault, InvalidRequest
from shared.job_json import credits_to_json, timestamp_to_json

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Queries

MAX_CSV_LINES = 20_000
"""The longest statement as CSV, in lines. A longer period is refused."""
KINDS = ("grant", "refund", "adjustment", "capture")
"""The kinds of lines. Holds and releases move no balance, and are not in a statement."""
_CSV_COLUMNS = (
    *("id", "time", "kind", "job_id", "model", "task", "quantity", "credits", "balance_after"),
    *("reason", "variant"),
)
# A spreadsheet runs a cell that begins with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class MonthTotals:
    """One month of a statement."""

    month: str
    """In UTC, such as `2026-10`."""
    opening_balance: Decimal
    closing_balance: Decimal
    totals: dict[str, Decimal]
    """What each kind changed the balance by. Captures are negative."""
    lines: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What changed an account's balance in a period."""

    account_id: str
    since: datetime
    until: datetime
    """The end of the period, which is not part of it."""
    opening_balance: Decimal
    closing_balance: Decimal
    totals: dict[str, Decimal]
    months: tuple[MonthTotals, ...]
    lines: int
    first_entry: int
    """The lines are the entries of the ledger from this id to below `end_entry`."""
    end_entry: int


def start_of_month(end: datetime) -> datetime:
    """Return the start of the month, in UTC, that has the last moment before `end`."""
    last = (end - timedelta(microseconds=1)).astimezone(UTC)
    return last.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def read_statement(
    queries: Queries, account_id: str, since: datetime, until: datetime
) -> Statement:
    """Return the statement of a period, without its lines.

    Raises `AccountNotFound`, and `InvalidRequest` if the period ends before it begins.
    """
    if until <= since:
        raise InvalidRequest([Fault("to", f"{until.isoformat()} must be after `from`")])
    bounds = await queries.fetch_row("statement_bounds", account_id, since, until)
    if bounds is None:
        raise AccountNotFound(account_id)
    first, end = bounds["first_entry"], bounds["end_entry"]
    rows = as_dicts(await queries.fetch("statement_totals", account_id, first, end))
    months = _months(rows, bounds["opening_balance"])
    return Statement(
        account_id=account_id,
        since=since,
        until=until,
        opening_balance=bounds["opening_balance"],
        closing_balance=bounds["closing_balance"],
        totals=_totals(rows),
        months=months,
        lines=sum(month.lines for month in months),
        first_entry=first,
        end_entry=end,
    )


async def read_statement_lines(
    queries: Queries,
    statement: Statement,
    *,
    after: int = 0,
    limit: int,
    newest_first: bool = False,
) -> list[dict[str, Any]]:
    """Return the lines of a statement with an id above `after`, oldest first, or the newest."""
    rows = await queries.fetch(
        "statement_lines",
        statement.account_id,
        max(statement.first_entry, min(after + 1, MAX_ROW_ID)),
        statement.end_entry,
        limit,
        newest_first,
    )
    return as_dicts(rows)


async def read_statement_csv(queries: Queries, statement: Statement) -> str:
    """Return all lines of a statement as CSV, with a header.

    Raises `InvalidRequest` for more than `MAX_CSV_LINES` lines.
    """
    if statement.lines > MAX_CSV_LINES:
        sentence = (
            f"has {statement.lines:,} lines, at most {MAX_CSV_LINES:,} fit: shorten the period"
        )
        raise InvalidRequest([Fault("from", sentence)])
    lines = await read_statement_lines(queries, statement, after=0, limit=MAX_CSV_LINES)
    return lines_to_csv(lines)


def lines_to_csv(lines: Sequence[dict[str, Any]]) -> str:
    """Return lines as CSV (RFC 4180). No text of a cell can be run as a formula."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(_CSV_COLUMNS)
    for line in lines:
        cells = {**line, "time": timestamp_to_json(line["created_at"])}
        writer.writerow([_csv_cell(cells[column]) for column in _CSV_COLUMNS])
    return output.getvalue()


def statement_to_json(statement: Statement) -> dict[str, Any]:
    """Return a statement as the JSON object of the API and the command line."""
    return {
        "account_id": statement.account_id,
        "from": timestamp_to_json(statement.since),
        "to": timestamp_to_json(statement.until),
        "opening_balance": credits_to_json(statement.opening_balance),
        "closing_balance": credits_to_json(statement.closing_balance),
        "totals": _totals_to_json(statement.totals),
        "lines": statement.lines,
        "months": [
            {
                "month": month.month,
                "opening_balance": credits_to_json(month.opening_balance),
                "closing_balance": credits_to_json(month.closing_balance),
                "totals": _totals_to_json(month.totals),
                "lines": month.lines,
            }
            for month in statement.months
        ],
    }


def _totals_to_json(totals: dict[str, Decimal]) -> dict[str, Any]:
    return {kind: credits_to_json(credits) for kind, credits in totals.items()}


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, Decimal]:
    return {
        kind: sum((row["credits"] for row in rows if row["kind"] == kind), Decimal(0))
        for kind in KINDS
    }


def _months(rows: Sequence[dict[str, Any]], opening: Decimal) -> tuple[MonthTotals, ...]:
    months = []
    for month in sorted({row["month"] for row in rows}):
        own = [row for row in rows if row["month"] == month]
        totals = _totals(own)
        closing = opening + sum(totals.values())
        months.append(
            MonthTotals(month, opening, closing, totals, sum(row["lines"] for row in own))
        )
        opening = closing
    return tuple(months)


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
